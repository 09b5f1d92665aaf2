"""The API requests of a function worker."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from functools import cache
from secrets import token_hex
from typing import cast
from urllib.parse import quote

from perdure.contract import (
    BlobCreated,
    FunctionCall,
    Heartbeat,
    HeartbeatReply,
    Registered,
    RegisterMachine,
)
from perdure.errors import ServerError
from perdure.functions.blobs import BlobData
from perdure.http.transport import Transport, read_json, read_reply, read_value

MAX_PER_POLL = 20
"""Maximum calls per poll."""


class WorkerApi:
    """The API client of one worker process. Requests are not retried here: the callers handle failures."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.machine_id = _machine_id(os.getpid())
        self._headers = {"x-machine-id": self.machine_id}
        self._cluster = ""

    @property
    def url(self) -> str:
        """The API's address."""
        return self._transport.url

    async def register(self, definition: RegisterMachine) -> None:
        """Register this process's functions of a service, replacing earlier ones. Must be the first request."""
        response = await self._transport.send(
            "POST", "/machines", body=definition, headers=self._headers, patience=0
        )
        cluster = read_reply(Registered, response).cluster_id
        self._cluster = f"/clusters/{quote(cluster, safe='')}"

    async def poll(
        self, service: str, functions: Sequence[str], limit: int, wait: float
    ) -> list[FunctionCall]:
        """Wait up to `wait` seconds for calls, at most `limit`. Raises `GoneError`: register again."""
        response = await self._transport.send(
            "GET",
            f"{self._cluster}/calls",
            query={
                "service": service,
                "functions": ",".join(functions),
                "limit": min(limit, MAX_PER_POLL),
                "wait": wait,
            },
            headers=self._headers,
            wait=wait,
            patience=0,
        )
        calls = read_json(response)
        if not isinstance(calls, list):
            raise ServerError(response.status_code, "unexpected_answer", "Calls come as a list.")
        return [read_value(FunctionCall, call) for call in cast(list[object], calls)]

    async def heartbeat(self, call: FunctionCall) -> bool:
        """Renew the lease of a call; the first heartbeat acknowledges it. False: stop, cancellation was requested.

        Raises `ConflictError` if the call is leased to another worker.
        """
        response = await self._transport.send(
            "POST",
            f"{self._cluster}/calls/{quote(call.id, safe='')}/heartbeat",
            body=Heartbeat(attempt=call.attempt),
            headers=self._headers,
            patience=0,
        )
        return not read_reply(HeartbeatReply, response).cancelled

    async def report_lost(self, machine_id: str) -> None:
        """Report that another worker's process is dead; its calls are requeued. Raises `NotFoundError`."""
        await self._transport.send(
            "POST",
            f"{self._cluster}/machines/{quote(machine_id, safe='')}/lost",
            headers=self._headers,
            patience=0,
        )

    async def post_blob(self, call: FunctionCall, blob: BlobData) -> None:
        """Attach a blob to a call. Raises `TooLargeError` if the run has too many."""
        response = await self._transport.send(
            "POST",
            f"{self._cluster}/calls/{quote(call.id, safe='')}/blobs",
            body=blob.request(),
            headers=self._headers,
            patience=0,
        )
        read_reply(BlobCreated, response)

    async def post_result(self, call: FunctionCall, body: bytes) -> None:
        """Post a result, as JSON of a `PostResult`. Raises `ConflictError` if it is too late."""
        await self._transport.send(
            "POST",
            f"{self._cluster}/calls/{quote(call.id, safe='')}/result",
            body=body,
            headers=self._headers,
            patience=0,
        )


@cache
def _machine_id(process: int) -> str:
    """Return the machine id: unique per process and stable for its lifetime; a fork gets its own."""
    return f"{platform.node() or 'host'}-{process}-{token_hex(4)}"
