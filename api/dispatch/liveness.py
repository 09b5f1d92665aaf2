"""Liveness of machines: recorded in the store, but not on every request."""

from __future__ import annotations

from orchestrator.runtime.clock import now_ms
from orchestrator.store.functions.registry import FunctionStore

_MAX_TRACKED_WORKERS = 50_000
_MARGIN_MS = 10_000
"""Seconds before its expiry at which a machine's row is renewed."""


class WorkerLiveness:
    """Renews the rows of machines. A machine is alive until the time in its row."""

    def __init__(self, functions: FunctionStore) -> None:
        self._functions = functions
        self._alive_until: dict[tuple[str, str], int] = {}
        self._info: dict[tuple[str, str], tuple[str | None, str | None]] = {}

    def set_info(self, cluster_id: str, machine_id: str, ip: str | None, sdk: str | None) -> None:
        """Remember the machine's address and client; written with the next write of its row."""
        machine = (cluster_id, machine_id)
        self._info.pop(machine, None)
        while len(self._info) >= _MAX_TRACKED_WORKERS:
            self._info.pop(next(iter(self._info)))
        self._info[machine] = (ip, sdk)

    def info(self, cluster_id: str, machine_id: str) -> tuple[str | None, str | None]:
        """The machine's address and client, if known."""
        return self._info.get((cluster_id, machine_id), (None, None))

    def knows(self, cluster_id: str, machine_id: str) -> bool:
        """Whether the machine has polled here since it last registered."""
        return (cluster_id, machine_id) in self._alive_until

    async def touch(
        self, cluster_id: str, machine_id: str, *, heartbeats: bool, seconds: float
    ) -> None:
        """Record that the machine is alive, and sends its next request within `seconds`."""
        machine, now = (cluster_id, machine_id), now_ms()
        until = now + int(seconds * 1000)
        known = self._alive_until.get(machine, 0)
        if until <= known or known - now > _MARGIN_MS:
            return
        self._cache(machine, until)
        await self._write(cluster_id, machine_id, heartbeats=heartbeats, alive_until=until)

    async def extend(
        self, cluster_id: str, machine_id: str, *, heartbeats: bool, seconds: float
    ) -> None:
        """Record that the machine is busy and counts as alive for `seconds` without a request."""
        machine, until = (cluster_id, machine_id), now_ms() + int(seconds * 1000)
        if until > self._alive_until.get(machine, 0):
            self._cache(machine, until)
            await self._write(cluster_id, machine_id, heartbeats=heartbeats, alive_until=until)

    async def mark_offline(self, cluster_id: str, machine_id: str, *, heartbeats: bool) -> None:
        """Record that the machine disconnected."""
        self._alive_until.pop((cluster_id, machine_id), None)
        await self._write(cluster_id, machine_id, heartbeats=heartbeats, alive_until=now_ms())

    def _cache(self, machine: tuple[str, str], until: int) -> None:
        """Forget the oldest machines beyond the maximum; only the times of their last writes are lost."""
        self._alive_until.pop(machine, None)
        while len(self._alive_until) >= _MAX_TRACKED_WORKERS:
            self._alive_until.pop(next(iter(self._alive_until)))
        self._alive_until[machine] = until

    async def _write(
        self, cluster_id: str, machine_id: str, *, heartbeats: bool, alive_until: int
    ) -> None:
        ip, sdk = self.info(cluster_id, machine_id)
        await self._functions.touch(
            cluster_id, machine_id, heartbeats=heartbeats, alive_until=alive_until, ip=ip, sdk=sdk
        )

    def invalidate(self, cluster_id: str, machine_id: str) -> None:
        """Forget the machine's last write, because another component wrote its row."""
        self._alive_until.pop((cluster_id, machine_id), None)
