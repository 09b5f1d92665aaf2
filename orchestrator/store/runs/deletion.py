"""Deletes runs with everything that belongs to them. Their usage is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, func, select

from orchestrator.errors import NotFoundError
from orchestrator.rules.lifecycle import is_final
from orchestrator.runtime.clock import to_datetime
from orchestrator.store import tables
from orchestrator.store.database.engine import Database, Write
from orchestrator.store.records import RunRecord
from orchestrator.store.runs.locked_run import LockedRun
from orchestrator.workflows.interface import RunRef

runs, steps = tables.runs, tables.steps

BATCH = 100
"""Runs deleted in one sweep; the next sweep takes the next ones."""
_DAY_MS = 86_400_000
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
_SUMS = (*_TOKENS, "cost_micros")
_ADDED = (*_SUMS, "model_calls", "runs")


class DeletionStore:
    """Deletes runs from the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def delete(self, ref: RunRef) -> None:
        """Delete a run in any state. Raises `NotFoundError`."""
        async with self._database.write() as write:
            await _delete(await LockedRun.lock(write, ref))

    async def outdated(self, before: int) -> list[RunRef]:
        """Runs whose last turn ended before that time (ms), oldest first."""
        statement = (
            select(runs.c.cluster_id, runs.c.id)
            .where(runs.c.finished_at < before)
            .order_by(runs.c.finished_at)
            .limit(BATCH)
        )
        async with self._database.read() as read:
            rows = await read.execute(statement)
            return [RunRef(cluster_id, run_id) for cluster_id, run_id in rows]

    async def delete_outdated(self, ref: RunRef, before: int) -> bool:
        """Delete a run whose last turn ended before that time; False if that is no longer so."""
        async with self._database.write() as write:
            try:
                run = await LockedRun.lock(write, ref)
            except NotFoundError:
                return False
            finished = run.record.finished_at
            if finished is None or finished >= before or not is_final(run.status):
                return False
            await _delete(run)
        return True


async def _delete(run: LockedRun) -> None:
    """Foreign keys delete the rows of all tables that refer to the run. Waiters of the run are woken."""
    await _retain_usage(run.write, run.record)
    await run.write.execute(delete(runs).where(runs.c.key == run.key))
    run.write.mark_changed(run.key)


async def _retain_usage(write: Write, record: RunRecord) -> None:
    """Add the run's usage to that of deleted runs, by day and model."""
    used: dict[tuple[str, str], dict[str, int]] = {}
    for row in await _used(write, record.key):
        sums = {name: int(row[name]) for name in (*_SUMS, "model_calls")}
        used[_date(int(row["day"]) * _DAY_MS), row["model"]] = {**sums, "runs": 0}
    if record.kind != "call":
        nothing: dict[str, int] = dict.fromkeys(_ADDED, 0)
        used.setdefault((_date(record.created_at), record.model), nothing)["runs"] += 1
    for (day, model), sums in sorted(
        used.items()
    ):  # always in the same order: two deletions never deadlock
        key = {"cluster_id": record.cluster_id, "day": day, "model": model}
        await write.upsert(tables.usage_days, key, sums, add=_ADDED)


async def _used(write: Write, run_key: int) -> list[Mapping[str, Any]]:
    day = (steps.c.created_at // _DAY_MS).label("day")
    statement = (
        select(
            day,
            steps.c.model,
            func.count().label("model_calls"),
            *(func.sum(steps.c[name]).label(name) for name in _SUMS),
        )
        .where(steps.c.run_key == run_key)
        .group_by(day, steps.c.model)
    )
    return [dict(row) for row in (await write.execute(statement)).mappings()]


def _date(ms: int) -> str:
    return to_datetime(ms).date().isoformat()
