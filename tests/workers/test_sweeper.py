"""A sweep brings to the engine what the store has and no signal has brought."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import timedelta

import pytest
from typing_extensions import override

from orchestrator.errors import UnavailableError
from orchestrator.runtime.clock import now_ms
from orchestrator.settings import Settings
from orchestrator.store import tables
from orchestrator.store.recovery.stalled_runs import STALLED_AFTER_MS, SUSPEND_AFTER_MS
from orchestrator.temporal.client import Temporal
from orchestrator.workflows.interface import RunRef
from orchestrator.workflows.wakeups import Wakeup
from tests.support.stage import HANDLER, Stage
from workers.sweeper import GRACE_MS, UNREAD_AFTER_MS, Sweeper

runs, calls, deliveries = tables.runs, tables.calls, tables.deliveries


class Engine(Temporal):
    """Writes down what it receives; or is away."""

    def __init__(self) -> None:
        super().__init__(Settings())
        self.requests: list[tuple[str, str]] = []
        self.requested = asyncio.Event()
        self.away = False

    def _record(self, what: str, ref: RunRef) -> None:
        if self.away:
            raise UnavailableError("Temporal does not answer.")
        self.requests.append((what, ref.run_id))
        self.requested.set()

    @override
    async def start_run(self, ref: RunRef, *, priority: int = 0) -> None:
        self._record("start run", ref)

    @override
    async def signal_run(self, ref: RunRef) -> None:
        self._record("signal run", ref)

    @override
    async def start_delivery(self, ref: RunRef) -> None:
        self._record("start delivery", ref)

    @override
    async def signal_delivery(self, ref: RunRef) -> None:
        self._record("signal delivery", ref)

    @override
    async def end_run(self, ref: RunRef) -> None:
        self._record("end run", ref)

    def woken(self, wakeups: Collection[Wakeup]) -> None:
        """Hear the wake-ups of committed transactions, as long as it is there."""
        if not self.away:
            self.requests += [(f"signal {kind.value}", ref.run_id) for kind, ref, _ in wakeups]


class RecordedSweeper(Sweeper):
    """The engine hears the wake-ups of a sweep, and no others."""

    def __init__(self, stage: Stage, engine: Engine) -> None:
        super().__init__(stage.store, engine, seconds=0.01)
        self._database, self._engine = stage.store.database, engine

    @override
    async def sweep(self) -> None:
        ignored = self._database.on_wakeups
        self._database.on_wakeups = self._engine.woken
        try:
            await super().sweep()
        finally:
            self._database.on_wakeups = ignored


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def sweeper(stage: Stage, engine: Engine) -> Sweeper:
    return RecordedSweeper(stage, engine)


async def _age(stage: Stage, milliseconds: int) -> None:
    """Let all that was written so far be so old."""
    past = now_ms() - milliseconds
    await stage.alter(runs, wake_at=past, updated_at=past)
    await stage.alter(calls, created_at=past)
    await stage.alter(deliveries, created_at=past)


async def test_a_request_whose_signal_was_lost_is_signalled_again(
    stage: Stage, engine: Engine, sweeper: Sweeper
) -> None:
    ref = await stage.run()
    await sweeper.sweep()
    assert engine.requests == []
    await _age(stage, GRACE_MS + 500)
    await sweeper.sweep()
    assert engine.requests == [("start run", ref.run_id)]


async def test_a_request_to_a_run_that_was_begun_is_signalled_again(
    stage: Stage, engine: Engine, sweeper: Sweeper
) -> None:
    ref = await stage.finished()
    await stage.send(ref, "and then?")
    await _age(stage, GRACE_MS + 500)
    await sweeper.sweep()
    assert engine.requests == [("signal run", ref.run_id)]


async def test_a_run_that_the_engine_is_slow_with_is_not_signalled_at_each_sweep(
    stage: Stage, engine: Engine, sweeper: Sweeper
) -> None:
    refs = [await stage.run() for _ in range(20)]
    await _age(stage, GRACE_MS + 500)
    engine.away = True
    await sweeper.sweep()
    engine.away = False
    for _ in range(3):
        await sweeper.sweep()
    assert sorted(engine.requests) == sorted(("start run", ref.run_id) for ref in refs)


async def test_a_delivery_nobody_drives_is_started_and_never_signalled(
    stage: Stage, engine: Engine, sweeper: Sweeper
) -> None:
    """A handler may be away for a day; a signal at each sweep would fill the history by then."""
    ref = await stage.finished(on_status_change=HANDLER)
    await _age(stage, GRACE_MS + 500)
    for _ in range(3):
        await sweeper.sweep()
    assert engine.requests == [("start delivery", ref.run_id)] * 3


async def test_a_run_in_which_nothing_happens_is_started_again(
    stage: Stage, engine: Engine, sweeper: Sweeper
) -> None:
    ref = await stage.run()
    await stage.begin_step(ref)
    await _age(stage, STALLED_AFTER_MS + 500)
    await sweeper.sweep()
    assert engine.requests == [("start run", ref.run_id)]


async def test_a_run_without_a_function_worker_says_so_then_rests_until_one_comes(
    stage: Stage, engine: Engine, sweeper: Sweeper
) -> None:
    await stage.register("query", alive_for=-1)
    ref = await stage.run()
    await stage.called(ref)
    await _age(stage, UNREAD_AFTER_MS + 500)
    await sweeper.sweep()
    assert (await stage.get_run(ref)).waiting_for is not None
    assert engine.requests == []
    await stage.alter(runs, waiting_since=now_ms() - SUSPEND_AFTER_MS - 500)
    await sweeper.sweep()
    assert engine.requests == [("signal run", ref.run_id)]
    await stage.register("query", machine="m2")
    await sweeper.sweep()
    assert engine.requests == [("signal run", ref.run_id)] * 2
    assert (await stage.get_run(ref)).waiting_for is None


async def test_runs_end_with_their_cluster(stage: Stage, engine: Engine, sweeper: Sweeper) -> None:
    pending, working = await stage.run(), await stage.run()
    await stage.begin_step(working)
    await sweeper.sweep()
    assert engine.requests == []
    await stage.store.clusters.delete(stage.cluster_id)
    await sweeper.sweep()
    assert {run_id for _, run_id in engine.requests} == {pending.run_id, working.run_id}
    assert (await stage.get_run(pending)).status == "cancelled"
    assert (await stage.get_run(working)).cancel_reason == "The cluster was deleted."


async def test_runs_are_deleted_when_their_time_is_over(stage: Stage, engine: Engine) -> None:
    day = 24 * 3_600_000
    old, young = await stage.finished(), await stage.finished()
    await stage.alter(runs, runs.c.id == old.run_id, finished_at=now_ms() - 8 * day)
    await stage.alter(runs, runs.c.id == young.run_id, finished_at=now_ms() - 6 * day)
    await Sweeper(stage.store, engine, seconds=0.01).sweep()
    assert {row["id"] for row in await stage.rows(runs)} == {old.run_id, young.run_id}
    keeps_a_week = Sweeper(stage.store, engine, seconds=0.01, retention=timedelta(days=7))
    await keeps_a_week.sweep()
    assert {row["id"] for row in await stage.rows(runs)} == {young.run_id}
    assert engine.requests == [("end run", old.run_id)]


async def test_sweeping_goes_on_after_the_engine_was_away(
    stage: Stage, engine: Engine, sweeper: Sweeper
) -> None:
    ref = await stage.run()
    await _age(stage, GRACE_MS + 500)
    engine.away = True
    await sweeper.sweep()
    task = asyncio.create_task(sweeper.run())
    engine.away = False
    async with asyncio.timeout(10):
        await engine.requested.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.requests[0] == ("start run", ref.run_id)
