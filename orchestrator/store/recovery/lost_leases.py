"""Lost leases: those that no function worker confirmed, or whose worker is dead.

Temporal's heartbeat timeout finds a worker that sends heartbeats, unless its death is known earlier. A worker without
heartbeats counts as notified when the response was written. If the API died before that, no machine has the call, and
its own timeout may be an hour.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, select, update

from orchestrator.errors import NotFoundError
from orchestrator.rules.lifecycle import is_final
from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from orchestrator.store.calls.attempts import fail_lost_attempt
from orchestrator.store.calls.crash_loops import record_crash
from orchestrator.store.calls.outcomes import Completed, Discarded, Retry, to_call_outcome
from orchestrator.store.calls.rows import find_call, task_queue_name
from orchestrator.store.database.engine import Database
from orchestrator.store.records import CallRecord
from orchestrator.store.recovery.stalled_runs import BATCH, LOST_AFTER_MS
from orchestrator.store.runs.locked_run import LockedRun
from orchestrator.workflows.interface import CallRef, RunRef
from perdure.contract import CallStatus
from perdure.contract.event_types import CallUndelivered

calls = tables.calls

IMMEDIATE_RETRY_SECONDS = 0.05
"""Seconds until a call is leased again that certainly no machine has."""
_LEASES_OF_WORKER = select(
    calls.c.run_key, calls.c.cluster_id, calls.c.id, calls.c.handouts, calls.c.task_token
).where(
    tables.OPEN_CALLS,
    calls.c.cluster_id == bindparam("of_cluster"),
    calls.c.machine_id == bindparam("of_machine"),
    calls.c.task_token.is_not(None),
)

_FUNCTIONS_OF_WORKER = (
    select(calls.c.service, calls.c.function)
    .where(
        tables.OPEN_CALLS,
        calls.c.status == CallStatus.RUNNING.value,
        calls.c.cluster_id == bindparam("of_cluster"),
        calls.c.machine_id == bindparam("of_machine"),
    )
    .distinct()
)
_ACTIVE_RUNS = (
    select(tables.runs.c.cluster_id, tables.runs.c.id)
    .where(tables.ACTIVE_RUNS)
    .order_by(tables.runs.c.updated_at.desc())
    .limit(bindparam("at_most"))
)
_RELEASE = (
    update(calls)
    .where(calls.c.key == bindparam("of_key"), calls.c.acknowledged.is_(False))
    .values(status=CallStatus.PENDING.value, task_token=None)
)


@dataclass(frozen=True, slots=True)
class LostLease:
    """A lease that reached no worker, and its activity's token."""

    run_key: int
    cluster_id: str
    call_id: str
    lease_number: int
    token: bytes


class LostLeaseStore:
    """Finds lost leases and releases them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_unconfirmed(self) -> list[LostLease]:
        """Leases of workers without heartbeats that were not confirmed for `LOST_AFTER_MS`."""
        statement = (
            select(
                calls.c.run_key,
                calls.c.cluster_id,
                calls.c.id,
                calls.c.handouts,
                calls.c.task_token,
            )
            .where(
                tables.OPEN_CALLS,
                calls.c.status == CallStatus.RUNNING.value,
                calls.c.heartbeats.is_(False),
                calls.c.acknowledged.is_(False),
                calls.c.task_token.is_not(None),
                calls.c.handed_out_at < now_ms() - LOST_AFTER_MS,
            )
            .limit(BATCH)
        )
        async with self._database.read() as read:
            return [LostLease(*row) for row in await read.execute(statement)]

    async def active_runs(self, limit: int) -> list[RunRef]:
        """Active runs, the most recently changed first."""
        async with self._database.read() as read:
            return [RunRef(*row) for row in await read.execute(_ACTIVE_RUNS, {"at_most": limit})]

    async def is_unassigned(self, cluster_id: str, call_id: str) -> bool:
        """Whether the call waits for a lease."""
        async with self._database.read() as read:
            call = await find_call(read, cluster_id, call_id)
        return call is not None and call.status == CallStatus.PENDING.value

    async def release(self, lost: LostLease) -> bool:
        """Let the call wait for a lease again, unless a worker confirmed it meanwhile. It costs the function nothing."""
        async with self._database.write() as write:
            try:
                run = await LockedRun.lock_key(write, lost.run_key)
            except NotFoundError:
                return False
            call = await find_call(write, lost.cluster_id, lost.call_id)
            if call is None or call.status != CallStatus.RUNNING.value:
                return False
            if call.handouts != lost.lease_number or not await _release_unacknowledged(run, call):
                return False
            await run.save()
        return True

    async def recover(self, call_ref: CallRef, token: bytes) -> Completed | Retry | Discarded:
        """What to do with an activity whose API process died: `Discarded` if a worker has the call, or may have it.

        A call that no worker confirmed is released: a worker that confirms it later is rejected, and starts nothing.
        """
        async with self._database.write() as write:
            try:
                run = await LockedRun.lock(write, call_ref.run)
            except NotFoundError:
                return Discarded("the run was deleted")
            call = await find_call(write, call_ref.run.cluster_id, call_ref.call_id)
            if call is None:
                return Discarded("the call was deleted")
            if call.result_type is not None or call.status == CallStatus.INTERRUPTED.value:
                return Completed(to_call_outcome(call))
            if call.status == CallStatus.RUNNING.value and call.task_token == token:
                if not call.heartbeats or not await _release_unacknowledged(run, call):
                    return Discarded("a machine has the call")
                await run.save()
        return Retry("no function worker received it", IMMEDIATE_RETRY_SECONDS)

    async def release_all_of(
        self, cluster_id: str, machine_id: str, *, hosted: bool = False
    ) -> list[bytes]:
        """Release all leases of a dead worker; returns the tokens of the activities that are to be failed.

        An acknowledged attempt stays counted. Idempotent: the tokens are returned each time.
        `hosted`: it was a process with hosted functions, whose crashes the store counts.
        """
        of_machine = {"of_cluster": cluster_id, "of_machine": machine_id}
        if hosted:
            await self._record_crash(cluster_id, machine_id)
        async with self._database.read() as read:
            rows = (await read.execute(_LEASES_OF_WORKER, of_machine)).all()
        tokens = [await self._fail_attempt(LostLease(*row)) for row in rows]
        return [token for token in tokens if token]

    async def _record_crash(self, cluster_id: str, machine_id: str) -> None:
        """Before its calls are released: from then on another worker may lease them."""
        of_machine = {"of_cluster": cluster_id, "of_machine": machine_id}
        async with self._database.write() as write:
            names = (await write.execute(_FUNCTIONS_OF_WORKER, of_machine)).all()
            queues = [task_queue_name(cluster_id, service, function) for service, function in names]
            await record_crash(write, queues, machine_id)

    async def _fail_attempt(self, lost: LostLease) -> bytes | None:
        async with self._database.write() as write:
            try:
                run = await LockedRun.lock_key(write, lost.run_key)
            except NotFoundError:
                return None
            call = await find_call(write, lost.cluster_id, lost.call_id)
            if call is None or call.handouts != lost.lease_number or call.task_token is None:
                return None  # it was answered, or leased to another worker
            if call.status == CallStatus.RUNNING.value:
                await fail_lost_attempt(run, call)
                await run.save()
            return call.task_token


async def _release_unacknowledged(run: LockedRun, call: CallRecord) -> bool:
    """False if a worker confirmed the call, even a moment ago."""
    released = await run.write.execute(_RELEASE, {"of_key": call.key})
    if released.rowcount == 0:
        return False
    if call.kind == "function" and not is_final(run.status):
        run.event(CallUndelivered(call_id=call.id, attempt=call.handouts))
    return True
