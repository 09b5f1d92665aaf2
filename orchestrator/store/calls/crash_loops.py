"""Crash loops of hosted functions: the count is stored, because it must survive the process.

For function workers the API counts, which survives their crashes. A result deletes a function's row.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from sqlalchemy import RowMapping, bindparam, delete, select

from orchestrator.rules.crash_loop import (
    MAX_PAUSE,
    RESET_SECONDS,
    WARNING,
    CrashLoopBackoff,
    stagger,
)
from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from orchestrator.store.calls.attempts import fail_lost_attempt
from orchestrator.store.calls.outcomes import AtCapacity
from orchestrator.store.calls.rows import parse_task_queue, task_queue_name
from orchestrator.store.database.engine import Database, Read, Write
from orchestrator.store.records import CallRecord
from orchestrator.store.runs.locked_run import LockedRun
from perdure.contract import CallStatus

_log = logging.getLogger(__name__)
backoffs = tables.crash_streaks

# Built once: building a statement costs more than sending it.
_ALL = (
    select(backoffs)
    .where(backoffs.c.cluster_id == bindparam("of_cluster"))
    .order_by(backoffs.c.service, backoffs.c.function)
)
_LOCKED = _ALL.with_for_update()
_ONE = _ALL.where(
    backoffs.c.service == bindparam("of_service"), backoffs.c.function == bindparam("of_function")
)
_OLD = delete(backoffs).where(
    backoffs.c.cluster_id == bindparam("of_cluster"), backoffs.c.last_at < bindparam("before")
)


class CrashLoopStore:
    """The crash counts of a cluster's hosted functions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load_all(self, cluster_id: str) -> dict[str, CrashLoopBackoff]:
        """The current crash streaks, by the functions' task queues. Times are seconds since the epoch."""
        async with self._database.read() as read:
            rows = (await read.execute(_ALL, {"of_cluster": cluster_id})).mappings()
            return {_queue(row): _backoff(row) for row in rows}

    async def clear(self, queue: str) -> None:
        """A result arrived, a failure or not: the function does not kill its process each time."""
        cluster_id, service, function = parse_task_queue(queue)
        statement = delete(backoffs).where(
            backoffs.c.cluster_id == cluster_id,
            backoffs.c.service == service,
            backoffs.c.function == function,
        )
        async with self._database.write() as write:
            await write.execute(statement)


async def record_crash(write: Write, queues: Collection[str], machine_id: str) -> None:
    """A hosting process died, and with it calls of these functions. Reported twice for one process, it counts once."""
    if not queues:
        return
    cluster_id, now = parse_task_queue(min(queues))[0], now_ms()
    rows = (await write.execute(_LOCKED, {"of_cluster": cluster_id})).mappings()
    known = {_queue(row): (_backoff(row), row["machine_id"]) for row in rows}
    after: dict[str, CrashLoopBackoff] = {}
    for queue in queues:
        before, machine = known.get(queue, (CrashLoopBackoff(), None))
        backoff = before.after_death(now / 1000)
        if backoff is not before and machine != machine_id:
            after[queue] = backoff
    for queue, backoff in sorted(stagger(after, now / 1000).items()):
        await _write(write, queue, backoff, machine_id)
        if pause := backoff.pause_left(now / 1000):
            _log.warning(WARNING, queue, backoff.deaths, pause)
    long_ago = now - int((RESET_SECONDS + MAX_PAUSE) * 1000)
    await write.execute(_OLD, {"of_cluster": cluster_id, "before": long_ago})


async def _backoff_of(read: Read, call: CallRecord) -> CrashLoopBackoff | None:
    function = {
        "of_cluster": call.cluster_id,
        "of_service": call.service,
        "of_function": call.function,
    }
    row = (await read.execute(_ONE, function)).mappings().one_or_none()
    backoff = None if row is None else _backoff(row)
    return backoff if backoff is not None and backoff.pause_left(now_ms() / 1000) else None


async def apply_crash_backoff(run: LockedRun, call: CallRecord) -> AtCapacity | None:
    """Let the call wait while its function pauses, and record that on its run. It costs no attempt."""
    backoff = await _backoff_of(run.write, call)
    if backoff is None:
        return None
    if call.status == CallStatus.RUNNING.value:
        await fail_lost_attempt(run, call)
    if call.kind == "function" and run.record.waiting_for is None:
        run.set_waiting_for(
            "function",
            f"The process of {call.service}.{call.function} died {backoff.deaths} times in a row.",
            call=call,
            retry_at=int(backoff.paused_until * 1000),
        )
    return AtCapacity(None, max(0.05, backoff.pause_left(run.now / 1000)))


async def _write(write: Write, queue: str, backoff: CrashLoopBackoff, machine_id: str) -> None:
    cluster_id, service, function = parse_task_queue(queue)
    columns = {
        "deaths": backoff.deaths,
        "machine_id": machine_id,
        "last_at": round(backoff.last * 1000),
        "paused_until": round(backoff.paused_until * 1000),
    }
    key = {"cluster_id": cluster_id, "service": service, "function": function}
    await write.upsert(backoffs, key, columns, update=list(columns))


def _queue(row: RowMapping) -> str:
    return task_queue_name(row["cluster_id"], row["service"], row["function"])


def _backoff(row: RowMapping) -> CrashLoopBackoff:
    return CrashLoopBackoff(row["deaths"], row["last_at"] / 1000, row["paused_until"] / 1000)
