"""What a function worker says to the API, and what it hears."""

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
"""Calls that one poll may bring."""


class WorkerApi:
    """One process as the server knows it. Nothing here is tried twice: the callers know what to do instead."""

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
        """Replace what this process offers of a service. Must come before everything else."""
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
        """Say that a call is being worked on; the first time acknowledges it. False: stop, it is not wanted.

        Raises `ConflictError` when the call belongs to somebody else by now.
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
        """Say of another worker that its process is dead: what it had is given to others. Raises `NotFoundError`."""
        await self._transport.send(
            "POST",
            f"{self._cluster}/machines/{quote(machine_id, safe='')}/lost",
            headers=self._headers,
            patience=0,
        )

    async def post_blob(self, call: FunctionCall, blob: BlobData) -> None:
        """Attach a blob to a call. Raises `TooLargeError` where the run has too many."""
        response = await self._transport.send(
            "POST",
            f"{self._cluster}/calls/{quote(call.id, safe='')}/blobs",
            body=blob.request(),
            headers=self._headers,
            patience=0,
        )
        read_reply(BlobCreated, response)

    async def post_result(self, call: FunctionCall, body: bytes) -> None:
        """Hand in a result, as JSON of a `PostResult`. Raises `ConflictError` when it comes too late."""
        await self._transport.send(
            "POST",
            f"{self._cluster}/calls/{quote(call.id, safe='')}/result",
            body=body,
            headers=self._headers,
            patience=0,
        )


@cache
def _machine_id(process: int) -> str:
    """Stable for the life of a process, and no other's: a fork is another process."""
    return f"{platform.node() or 'host'}-{process}-{token_hex(4)}"
