"""What a sweep does for runs whose deadline has passed."""

from __future__ import annotations

import pytest

from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from tests.support.stage import HANDLER, Stage
from tests.workers.test_sweeper import Engine, RecordedSweeper
from workers.sweeper import Sweeper

_HOUR = 3_600_000


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def sweeper(stage: Stage, engine: Engine) -> Sweeper:
    return RecordedSweeper(stage, engine)


async def test_an_overdue_run_ends_its_workflow_and_its_handler_are_notified(
    stage: Stage, engine: Engine, sweeper: Sweeper
) -> None:
    await stage.register("announce", "query")
    ref = await stage.run(on_status_change=HANDLER, deadline_at=now_ms() + _HOUR)
    in_time = await stage.run(deadline_at=now_ms() + _HOUR)
    await stage.called(ref)
    await sweeper.sweep()
    assert engine.requests == []

    await stage.alter(tables.runs, tables.runs.c.id == ref.run_id, deadline_at=now_ms() - 1)
    await sweeper.sweep()
    await sweeper.sweep()

    assert engine.requests == [("signal delivery", ref.run_id), ("signal run", ref.run_id)]
    assert (await stage.get_run(ref)).status == "failed"
    assert (await stage.get_run(in_time)).status == "pending"


async def test_it_ends_though_temporal_is_away(
    stage: Stage, engine: Engine, sweeper: Sweeper
) -> None:
    ref = await stage.run(deadline_at=now_ms() - 1)
    engine.away = True
    await sweeper.sweep()
    assert (await stage.get_run(ref)).status == "failed"
