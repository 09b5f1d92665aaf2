"""People who ask something of runs that are under way, and keep what was acknowledged."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from perdure import AsyncPerdure, ConflictError
from perdure.contract import DecideCall, PendingApproval
from tests.faults.checker.request_rules import APPROVED, CANCELLED, DENIED, EDITED, SENT
from tests.faults.ground.ground import Ground

_POLL_SECONDS = 0.3

Decide = Callable[[PendingApproval], bool]


def always(_: PendingApproval) -> bool:
    """A person who approves whatever there is."""
    return True


def by_chance(_: PendingApproval) -> bool:
    """A person who approves three of four."""
    return random.random() < 0.75  # noqa: S311 - no secret


class Person:
    """Asks something of runs; what was answered is kept on the ground as a request."""

    def __init__(self, ground: Ground, client: AsyncPerdure) -> None:
        self._ground = ground
        self._client = client

    async def send(self, run: str, text: str) -> str:
        """A follow-up; its id."""
        message = await (await self._client.get_run(run)).send(text)
        self._record(SENT, run, id=message.id, text=text)
        return message.id

    async def edit(self, run: str, message_id: str, text: str) -> None:
        """Another text for a message, the run to go on from there."""
        await (await self._client.get_run(run)).edit_message(message_id, text)
        self._ground.requests[:] = [
            request for request in self._ground.requests if request.get("id") != message_id
        ]
        self._record(EDITED, run, id=message_id, text=text)

    async def cancel(self, run: str) -> None:
        """An end, unless the run was faster."""
        try:
            await self._client.cancel_run(run, "nobody needs it")
        except ConflictError:
            return
        self._record(CANCELLED, run)

    async def decide(self, one: PendingApproval, *, approve: bool) -> None:
        """A word on a call. A conflict is a word that was taken before and answered by nobody."""
        path = f"/clusters/{await self._client.cluster_id()}/calls/{one.call_id}/approval"
        try:
            await self._client.transport.send("POST", path, body=DecideCall(approved=approve))
        except ConflictError as error:
            if error.code != "already_decided":
                return
        self._record(APPROVED if approve else DENIED, one.run_id, id=one.call_id)

    async def pending(self) -> list[PendingApproval]:
        """What waits for a person."""
        path = f"/clusters/{await self._client.cluster_id()}/approvals"
        answer = await self._client.transport.send("GET", path)
        return [PendingApproval.model_validate(one) for one in answer.json()["items"]]

    async def decide_all(self, decide: Decide, whose: str) -> None:
        """Decide on whatever waits of runs so named, until cancelled.

        A call is decided once: the word given first is the one sent.
        """
        decisions: dict[str, bool] = {}
        while True:
            for one in [one for one in await self.pending() if one.run_id.startswith(whose)]:
                approve = decisions.setdefault(one.call_id, decide(one))
                await self.decide(one, approve=approve)
            await asyncio.sleep(_POLL_SECONDS)

    def _record(self, kind: str, run: str, **facts: str) -> None:
        request = {"kind": kind, "run": run, **facts}
        if request not in self._ground.requests:
            self._ground.requests.append(request)


@asynccontextmanager
async def deciding(person: Person, decide: Decide, *, whose: str = "") -> AsyncGenerator[None]:
    """A person decides while the block runs, on calls of runs whose names begin so."""
    at_work = asyncio.create_task(person.decide_all(decide, whose))
    try:
        yield
    finally:
        at_work.cancel()
        await asyncio.gather(at_work, return_exceptions=True)
