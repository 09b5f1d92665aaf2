"""Deliveries of status transitions to handlers: in order, at least once, visible when given up."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update

from orchestrator.activity_interface import CallOrder, RunRef
from orchestrator.errors import NotFoundError
from orchestrator.store import tables
from orchestrator.store.call_rows import order_of
from orchestrator.store.engine import Database, Read
from orchestrator.store.open_run import OpenRun
from orchestrator.store.records import CallRecord

deliveries, calls = tables.deliveries, tables.calls

BATCH = 16
"""Deliveries of one run handed to its delivery workflow at a time."""


class DeliveryStore:
    """What handlers have to be told."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def waiting(self, ref: RunRef, dead: Sequence[str]) -> list[CallOrder]:
        """Handler calls that are not answered yet, oldest transition first; `dead` ones are given up before."""
        async with self._database.write() as write:
            try:
                run = await OpenRun.lock(write, ref)
            except NotFoundError:
                return []
            for call_id in dead:
                await _bury(run, call_id)
            await run.save()
            return [order_of(call, run.now) for call in await _waiting(write, run.key)]

    async def are_open(self, ref: RunRef) -> bool:
        """Whether the run's handler has something to be told."""
        runs = tables.runs
        statement = (
            select(deliveries.c.transition)
            .join(runs, runs.c.key == deliveries.c.run_key)
            .where(
                runs.c.cluster_id == ref.cluster_id,
                runs.c.id == ref.run_id,
                deliveries.c.status == "pending",
            )
            .limit(1)
        )
        async with self._database.read() as read:
            return (await read.execute(statement)).first() is not None


async def _waiting(read: Read, run_key: int) -> list[CallRecord]:
    statement = (
        select(calls)
        .join(deliveries, deliveries.c.call_key == calls.c.key)
        .where(deliveries.c.run_key == run_key, deliveries.c.status == "pending")
        .order_by(deliveries.c.transition)
        .limit(BATCH)
    )
    return [CallRecord(**row) for row in (await read.execute(statement)).mappings()]


async def _bury(run: OpenRun, call_id: str) -> None:
    call_key = select(calls.c.key).where(calls.c.id == call_id).scalar_subquery()
    buried = await run.write.execute(
        update(deliveries)
        .where(
            deliveries.c.run_key == run.key,
            deliveries.c.call_key == call_key,
            deliveries.c.status == "pending",
        )
        .values(status="dead", settled_at=run.now)
        .returning(deliveries.c.transition)
    )
    for (transition,) in buried:
        run.event("delivery.dead", transition=transition, callId=call_id)
