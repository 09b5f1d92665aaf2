"""Deadlines: what is overdue ends, calls never outlast their run, and handlers are notified."""

from __future__ import annotations

import pytest

from orchestrator.errors import SupersededError
from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from orchestrator.workflows.interface import RunRef, RunState
from tests.support.stage import HANDLER, Stage, calls_for, text_of

_HOUR = 3_600_000


async def _overdue(stage: Stage, ref: RunRef) -> None:
    await stage.alter(tables.runs, tables.runs.c.id == ref.run_id, deadline_at=now_ms() - 1)


async def _swept(stage: Stage) -> list[bool]:
    return [await stage.store.deadlines.fail(ref) for ref in await stage.store.deadlines.overdue()]


@pytest.mark.parametrize("status", ["pending", "running", "paused"])
async def test_an_unfinished_run_fails_at_its_deadline(stage: Stage, status: str) -> None:
    ref = await stage.run(deadline_at=now_ms() + _HOUR)
    if status != "pending":
        await stage.begin_step(ref)
    if status == "paused":
        await stage.alter(tables.runs, status="paused", paused_for="spend")
    assert await _swept(stage) == []
    await _overdue(stage, ref)

    assert await _swept(stage) == [True]

    run = await stage.get_run(ref)
    assert run.status == "failed"
    assert (run.failure_reason or "").startswith("The run's deadline passed at 2")
    assert (run.failure_reason or "").endswith("+00:00.")
    assert run.wake_wanted > run.wake_read
    assert await _swept(stage) == []


async def test_a_run_that_ended_in_time_stays_as_it_is(stage: Stage) -> None:
    ref = await stage.finished(deadline_at=now_ms() + _HOUR)
    await _overdue(stage, ref)
    assert await stage.store.deadlines.overdue() == []
    assert await stage.store.deadlines.fail(ref) is False
    assert (await stage.get_run(ref)).status == "done"


async def test_the_step_itself_sees_that_the_deadline_passed(stage: Stage) -> None:
    ref = await stage.run(deadline_at=now_ms() + _HOUR)
    await _overdue(stage, ref)
    assert await stage.begin(ref) == RunState("failed")


async def test_so_does_the_fast_path_into_a_step(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run(deadline_at=now_ms() + _HOUR)
    (order,) = await stage.called(ref)
    await stage.lease_and_finish(ref, order.call_id)
    await _overdue(stage, ref)
    state = await stage.begin(ref, 2)
    assert isinstance(state, RunState)
    assert state.status == "failed"


async def test_calls_have_no_longer_than_their_run(stage: Stage) -> None:
    await stage.register("query")
    long, short = await stage.run(), await stage.run(deadline_at=now_ms() + 60_000)
    assert (await stage.called(long))[0].deadline > 60
    assert 50 < (await stage.called(short))[0].deadline <= 60


async def test_a_reply_that_comes_after_the_deadline_is_dropped(stage: Stage) -> None:
    ref = await stage.run(deadline_at=now_ms() + _HOUR)
    question = await stage.begin_step(ref)
    await _overdue(stage, ref)
    await _swept(stage)
    assert (await stage.record(question, text_of("too late"))).status == "failed"
    assert "step.dropped" in await stage.event_types(ref)


async def test_a_result_that_comes_after_the_deadline_is_refused(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run(deadline_at=now_ms() + _HOUR)
    (order,) = (await stage.think(ref, calls_for("sales_query"))).orders
    await stage.lease(ref, order.call_id)
    await _overdue(stage, ref)
    await _swept(stage)
    seen = await stage.store.calls.read_pending_requests(ref)
    assert seen.over
    with pytest.raises(SupersededError):
        await stage.finish(order.call_id)


async def test_a_handler_is_notified(stage: Stage) -> None:
    await stage.register("announce")
    ref = await stage.run(on_status_change=HANDLER, deadline_at=now_ms() + _HOUR)
    await _overdue(stage, ref)
    assert await _swept(stage) == [True]
    assert await stage.has_pending_deliveries(ref)


async def test_a_cancel_that_was_requested_goes_before(stage: Stage) -> None:
    ref = await stage.run(deadline_at=now_ms() + _HOUR)
    await stage.begin_step(ref)
    await stage.store.runs.cancel(ref, "enough")
    await _overdue(stage, ref)
    assert await _swept(stage) == [True]
    assert (await stage.get_run(ref)).status == "cancelled"
