"""Queries of the sweeper: runs that would never continue by themselves."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select

from orchestrator.errors import NotFoundError
from orchestrator.rules.lifecycle import UNFINISHED, is_final
from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from orchestrator.store.calls.interruptions import can_run_calls
from orchestrator.store.calls.rows import attempts_exhausted, find_call, record_result
from orchestrator.store.database.engine import Database
from orchestrator.store.functions.registry import has_live_machine
from orchestrator.store.records import CallRecord
from orchestrator.store.runs.locked_run import LockedRun
from orchestrator.workflows.interface import RunRef
from perdure.contract import CallStatus, PausedFor, ResultType, RunStatus

runs, calls, deliveries = tables.runs, tables.calls, tables.deliveries

BATCH = 200
"""Rows of one kind processed in one sweep; the next sweep reads the next ones."""
MAX_UNREAD_RUNS = 5_000
"""Runs with unread requests that a sweep reads. A busy engine has many of them, of which few are signalled."""
LOST_AFTER_MS = 15_000
"""A leased call counts as lost when its worker is gone and Temporal's heartbeat timeout has passed too; without heartbeats,
when its own timeout has passed.
"""
SUSPEND_AFTER_MS = 60_000
"""A run that waits this long for a function worker is suspended: its workflow closes, and restarts when a worker comes."""
NOT_STARTED_AFTER_MS = 15_000
"""A pending run without progress for this long is signalled even though its requests were read."""
STALLED_AFTER_MS = 10 * 60_000
"""A running run without progress for this long is signalled, in case its workflow is gone."""


@dataclass(frozen=True, slots=True)
class WaitingCall:
    """A call that no worker has leased yet."""

    run_key: int
    call_id: str


@dataclass(frozen=True, slots=True)
class UndeliveredRuns:
    """Runs with open deliveries, and where the next page begins; 0: at the beginning."""

    refs: list[RunRef]
    next_after: int


class SweepStore:
    """What the sweeper reads and repairs. Every method is idempotent."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def runs_with_unread_requests(
        self, before: int, *, started: bool | None = None
    ) -> list[RunRef]:
        """Runs with a request written before that time that no workflow has read.

        `started`: runs that a workflow has worked on (True), runs that none has (False); None: both.
        """
        statement = (
            select(runs.c.cluster_id, runs.c.id)
            .where(runs.c.wake_wanted > runs.c.wake_read, runs.c.wake_at < before)
            .where(runs.c.status.in_(sorted(UNFINISHED)))
            .order_by(runs.c.priority, runs.c.wake_at)
            .limit(MAX_UNREAD_RUNS)
        )
        if started is not None:
            statement = statement.where(~_NOT_STARTED if started else _NOT_STARTED)
        return await self._refs(statement)

    async def stalled_runs(self) -> list[RunRef]:
        """Unfinished, unpaused runs without an open call and without progress for long."""
        open_call = (
            select(calls.c.key)
            .where(
                calls.c.run_key == runs.c.key,
                calls.c.kind
                == "function",  # a pending delivery to a handler does not keep a run in progress
                calls.c.result_type.is_(None),
            )
            .exists()
        )
        now = now_ms()
        statement = (
            select(runs.c.cluster_id, runs.c.id)
            .where(
                tables.ACTIVE_RUNS,
                or_(
                    and_(
                        runs.c.status == RunStatus.PENDING.value,
                        runs.c.updated_at < now - NOT_STARTED_AFTER_MS,
                    ),
                    and_(
                        runs.c.status == RunStatus.RUNNING.value,
                        runs.c.updated_at < now - STALLED_AFTER_MS,
                    ),
                ),
                ~open_call,
            )
            .limit(BATCH)
        )
        return await self._refs(statement)

    async def undelivered_runs(
        self, before: int, *, after: int = 0, limit: int = BATCH
    ) -> UndeliveredRuns:
        """Runs with an open delivery written before that time, one page of them.

        Deliveries stay open for as long as a handler is unavailable, so a sweep begins `after` where the last one ended.
        """
        waiting = (
            select(deliveries.c.run_key)
            .where(
                deliveries.c.status == "pending",
                deliveries.c.run_key > after,
                deliveries.c.created_at < before,
            )
            .distinct()
            .order_by(deliveries.c.run_key)
            .limit(limit)
            .subquery()
        )
        statement = (
            select(runs.c.key, runs.c.cluster_id, runs.c.id)
            .join(waiting, waiting.c.run_key == runs.c.key)
            .order_by(runs.c.key)
        )
        async with self._database.read() as read:
            rows = (await read.execute(statement)).all()
        refs = [RunRef(cluster_id, run_id) for _, cluster_id, run_id in rows]
        return UndeliveredRuns(refs, next_after=rows[-1][0] if len(rows) == limit else 0)

    async def _refs(self, statement: Select[str, str]) -> list[RunRef]:
        async with self._database.read() as read:
            rows = await read.execute(statement)
            return [RunRef(cluster_id, run_id) for cluster_id, run_id in rows]

    async def calls_without_worker(self, before: int) -> list[WaitingCall]:
        """Calls that have waited since before that time without a live worker for their function."""
        statement = (
            select(calls.c.run_key, calls.c.id)
            .join(runs, runs.c.key == calls.c.run_key)
            .where(
                tables.OPEN_CALLS,
                calls.c.kind == "function",
                calls.c.result_type.is_(None),
                or_(
                    and_(calls.c.status == CallStatus.PENDING.value, calls.c.created_at < before),
                    and_(
                        calls.c.status == CallStatus.RUNNING.value,
                        calls.c.handed_out_at + _LOST_AFTER < before,
                    ),
                ),
                _CAN_RUN_CALLS,
                runs.c.waiting_for.is_(None),
                ~has_live_machine(now_ms()),
            )
            .limit(BATCH)
        )
        async with self._database.read() as read:
            rows = await read.execute(statement)
            return [WaitingCall(run_key, call_id) for run_key, call_id in rows]

    async def report_waiting(self, waiting_call: WaitingCall) -> None:
        """Record on the run that it waits for a function worker.

        A call whose attempts are used up gets its failure instead of waiting for a worker.
        """
        async with self._database.write() as write:
            try:
                run = await LockedRun.lock_key(write, waiting_call.run_key)
            except NotFoundError:  # deleted since
                return
            call = await find_call(write, run.record.cluster_id, waiting_call.call_id)
            if call is None or call.result_type is not None or is_final(run.status):
                return
            if call.handed_out_at is not None and run.now < call.handed_out_at + _lost_after_ms(
                call
            ):
                return  # a worker came in between
            reason = attempts_exhausted(call)
            if reason is not None:
                await record_result(run, call, ResultType.REJECTION, reason)
                run.request_wakeup()
            elif run.record.waiting_for is None:
                run.set_waiting_for(
                    "function",
                    f"No function worker offers {call.service}.{call.function}.",
                    call=call,
                )
            await run.save()

    async def suspend(self) -> None:
        """Suspend runs that have waited long for a function worker; their workflow executions are to be closed."""
        statement = select(runs.c.key).where(
            _CAN_RUN_CALLS,
            runs.c.parked.is_(False),
            runs.c.waiting_since < now_ms() - SUSPEND_AFTER_MS,
            _waits_for_function(),
        )
        await self._mark(statement.limit(BATCH), suspended=True)

    async def resume_suspended(self) -> None:
        """Resume runs that waited for a function worker, if one came or the call's time is up."""
        now = now_ms()
        over = func.coalesce(calls.c.decided_at, calls.c.created_at) + calls.c.deadline_ms < now
        statement = select(runs.c.key).where(
            _CAN_RUN_CALLS,
            runs.c.parked.is_(True),
            runs.c.waiting_since.is_not(None),
            _waits_for_function(or_(has_live_machine(now), over)),
        )
        await self._mark(statement.limit(BATCH), suspended=False)

    async def _mark(self, statement: Select[int], *, suspended: bool) -> None:
        async with self._database.read() as read:
            keys = list((await read.execute(statement)).scalars())
        for key in keys:
            with suppress(NotFoundError):  # deleted since
                async with self._database.write() as write:
                    run = await LockedRun.lock_key(write, key)
                    if run.record.parked is suspended or not can_run_calls(run):
                        continue
                    if suspended:
                        run.set(parked=True)
                    else:
                        run.clear_waiting_for()
                    run.request_wakeup()
                    await run.save()


_CAN_RUN_CALLS = or_(
    runs.c.status == RunStatus.RUNNING.value,
    and_(runs.c.status == RunStatus.PAUSED.value, runs.c.paused_for == PausedFor.APPROVAL.value),
)
"""SQL: the run's calls are run, except those that wait for an approval."""


_NOT_STARTED = and_(runs.c.status == RunStatus.PENDING.value, runs.c.turn == 1, runs.c.step == 0)
"""SQL: no workflow has read any request of the run yet."""


def _lost_after_ms(call: CallRecord) -> int:
    """Milliseconds from a lease until a call whose worker is gone counts as lost."""
    return LOST_AFTER_MS + (0 if call.heartbeats else call.timeout_ms)


_LOST_AFTER = LOST_AFTER_MS + case((calls.c.heartbeats, 0), else_=calls.c.timeout_ms)
"""SQL: the same."""


def _waits_for_function(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return (
        select(calls.c.key)
        .where(
            calls.c.run_key == runs.c.key,
            calls.c.kind == "function",
            calls.c.status == CallStatus.PENDING.value,
            *conditions,
        )
        .exists()
    )
