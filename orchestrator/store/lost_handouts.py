"""Hand-outs of which no machine ever said that they reached it.

A machine that sends heartbeats is missed by Temporal's heartbeat timeout. One that sends none counts as told when the
answer was written: where the API died before that, nobody works on the call, and its own timeout may be an hour.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from orchestrator.clock import now_ms
from orchestrator.errors import NotFoundError
from orchestrator.lifecycle import is_final
from orchestrator.store import tables
from orchestrator.store.call_rows import UPDATE_CALL, find_call
from orchestrator.store.engine import Database
from orchestrator.store.open_run import OpenRun
from orchestrator.store.sweeps import BATCH, LOST_AFTER_MS
from perdure.contract import CallStatus

calls = tables.calls


@dataclass(frozen=True, slots=True)
class LostHandout:
    """A hand-out that reached nobody, and its activity's token."""

    run_key: int
    cluster_id: str
    call_id: str
    handouts: int
    token: bytes


class LostHandoutStore:
    """Finds what was handed out to nobody, and takes it back."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self) -> list[LostHandout]:
        """Hand-outs to machines without heartbeats that were not confirmed for `LOST_AFTER_MS`."""
        statement = (
            select(
                calls.c.run_key,
                calls.c.cluster_id,
                calls.c.id,
                calls.c.handouts,
                calls.c.task_token,
            )
            .where(
                calls.c.status == CallStatus.RUNNING.value,
                calls.c.heartbeats.is_(False),
                calls.c.acknowledged.is_(False),
                calls.c.task_token.is_not(None),
                calls.c.handed_out_at < now_ms() - LOST_AFTER_MS,
            )
            .limit(BATCH)
        )
        async with self._database.read() as read:
            return [LostHandout(*row) for row in await read.execute(statement)]

    async def take_back(self, lost: LostHandout) -> bool:
        """Let the call wait for a machine again, unless one was heard of it meanwhile. It costs the function nothing."""
        async with self._database.write() as write:
            try:
                run = await OpenRun.lock_key(write, lost.run_key)
            except NotFoundError:
                return False
            call = await find_call(write, lost.cluster_id, lost.call_id)
            if call is None or call.status != CallStatus.RUNNING.value:
                return False
            if call.acknowledged or call.handouts != lost.handouts:
                return False
            await write.execute(
                UPDATE_CALL,
                {"of_key": call.key, "status": CallStatus.PENDING.value, "task_token": None},
            )
            if call.kind == "function" and not is_final(run.status):
                run.event("call.undelivered", callId=call.id, attempt=call.handouts)
            await run.save()
        return True
