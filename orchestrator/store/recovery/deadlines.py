"""Runs whose deadline has passed: found and failed by the sweeper."""

from __future__ import annotations

from sqlalchemy import select

from orchestrator.rules.lifecycle import UNFINISHED
from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from orchestrator.store.database.engine import Database
from orchestrator.store.runs.limits import fail_overdue
from orchestrator.store.runs.locked_run import LockedRun
from orchestrator.workflows.interface import RunRef

runs = tables.runs

BATCH = 200
"""Runs ended in one sweep."""


class DeadlineStore:
    """The deadlines of all runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def overdue(self) -> list[RunRef]:
        """Unfinished runs whose deadline has passed, the longest overdue first."""
        statement = (
            select(runs.c.cluster_id, runs.c.id)
            .where(runs.c.deadline_at <= now_ms(), runs.c.status.in_(sorted(UNFINISHED)))
            .order_by(runs.c.deadline_at)
            .limit(BATCH)
        )
        async with self._database.read() as read:
            return [
                RunRef(cluster_id, run_id) for cluster_id, run_id in await read.execute(statement)
            ]

    async def fail(self, ref: RunRef) -> bool:
        """Fail a run whose deadline has passed; False if it ended before. Raises `NotFoundError` where it was deleted."""
        async with self._database.write() as write:
            run = await LockedRun.lock(write, ref)
            failed = await fail_overdue(run)
            if failed:
                run.request_wakeup()
                await run.save()
        return failed
