"""Activity of a cluster: services, machines, events of all runs, usage, audit trail."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from perdure.contract import (
    AuditEntry,
    ClusterEvent,
    Identity,
    Machine,
    ServiceDescription,
    UsageOfDay,
    UsageReport,
)
from perdure.http.cluster_api import OfCluster, PageOf


class AsyncClusterActivity(OfCluster):
    """The part of the client for the cluster's activity."""

    async def services(self) -> list[ServiceDescription]:
        """The services and functions of the cluster, and how many function workers offer each now."""
        return await self._api.all(PageOf[ServiceDescription], "services")

    async def machines(
        self, *, active: bool = False, limit: int | None = None
    ) -> AsyncGenerator[Machine, None]:
        """Processes of function workers, newest first; `active`: only live ones."""
        query = {"status": "active" if active else "all"}
        async for machine in self._api.pages(PageOf[Machine], "machines", query=query, limit=limit):
            yield machine

    async def events(
        self,
        *,
        type: str | None = None,  # noqa: A002 - the wire's word
        run_id: str | None = None,
        call_id: str | None = None,
        machine_id: str | None = None,
        service: str | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[ClusterEvent, None]:
        """Events of all runs, newest first, that match all given filters."""
        query = {
            "type": type,
            "runId": run_id,
            "callId": call_id,
            "machineId": machine_id,
            "service": service,
        }
        async for event in self._api.pages(
            PageOf[ClusterEvent], "events", query=query, limit=limit
        ):
            yield event

    async def usage(self, days: int = 60) -> list[UsageOfDay]:
        """Tokens, model calls, money and runs per day (UTC) and model, newest day first; at most 366 days."""
        report = await self._api.read(UsageReport, "GET", "usage", query={"days": days})
        return report.items

    async def audit(self, *, limit: int | None = None) -> AsyncGenerator[AuditEntry, None]:
        """The audit trail: changes and refused changes, newest first. Requires the scope admin."""
        async for entry in self._api.pages(PageOf[AuditEntry], "audit", limit=limit):
            yield entry

    async def identity(self) -> Identity:
        """The identity of the key, and its scopes."""
        return await self._api.identity()

    async def cluster_id(self) -> str:
        """The cluster of this client; read from the server once, if it was not given."""
        return await self._api.cluster_id()
