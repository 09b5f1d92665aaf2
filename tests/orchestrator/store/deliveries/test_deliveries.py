"""Deliveries: every transition, in order, until it is answered or given up in plain sight."""

from __future__ import annotations

import pytest

from orchestrator.llm.tools import DEFAULT_DEADLINE_MS
from orchestrator.rules.lifecycle import Trigger
from orchestrator.store import tables
from orchestrator.store.calls.outcomes import Completed, Retry
from orchestrator.store.database.json_columns import object_from_json
from orchestrator.workflows.interface import CallSchedule, RunRef
from perdure.contract import FunctionConfig, ResultType, RunStatus, StatusChange
from tests.support.stage import HANDLER, Stage, text_of


async def _waiting(stage: Stage, ref: RunRef, *dead: str) -> list[CallSchedule]:
    return await stage.store.deliveries.list_pending(ref, dead)


async def _change(stage: Stage, ref: RunRef, order: CallSchedule) -> StatusChange:
    """What the handler is given."""
    given = await stage.lease(ref, order.call_id)
    return StatusChange.model_validate(given.input)


async def test_each_transition_becomes_a_delivery_in_order(stage: Stage) -> None:
    ref = await stage.finished(on_status_change=HANDLER, metadata={"team": "sales"})
    changes = [await _change(stage, ref, order) for order in await _waiting(stage, ref)]
    assert [(c.id, c.previous, c.status) for c in changes] == [
        (f"{ref.run_id}:1", RunStatus.PENDING, RunStatus.RUNNING),
        (f"{ref.run_id}:2", RunStatus.RUNNING, RunStatus.DONE),
    ]
    assert [c.result for c in changes] == [None, "the answer"]
    assert {c.metadata["team"] for c in changes} == {"sales"}
    assert {(c.run_id, c.cluster_id, c.turn) for c in changes} == {(ref.run_id, ref.cluster_id, 1)}


async def test_a_run_without_a_handler_has_no_deliveries(stage: Stage) -> None:
    ref = await stage.finished()
    assert await _waiting(stage, ref) == []
    assert not await stage.has_pending_deliveries(ref)


@pytest.mark.parametrize("move", [Trigger.FAIL, Trigger.CANCEL])
async def test_the_handler_is_notified_why_a_run_did_not_end_well(
    stage: Stage, move: Trigger
) -> None:
    ref = await stage.run(on_status_change=HANDLER)
    if move is Trigger.CANCEL:
        await stage.store.runs.cancel(ref, "because")
    else:
        await stage.store.runs.end_turn(ref, move, "because")
    (order,) = await _waiting(stage, ref)
    change = await _change(stage, ref, order)
    assert change.failure_reason == "because"


async def test_why_a_run_is_paused_is_no_failure(stage: Stage) -> None:
    ref = await stage.run(on_status_change=HANDLER)
    await stage.begin_step(ref)
    await stage.store.steps.abort_turn(ref, 1, Trigger.PAUSE, "no money", attempt=1)
    change = await _change(stage, ref, (await _waiting(stage, ref))[-1])
    assert (change.status, change.failure_reason) == (RunStatus.PAUSED, None)


async def test_what_was_delivered_is_not_delivered_again(stage: Stage) -> None:
    ref = await stage.finished(on_status_change=HANDLER)
    first, second = await _waiting(stage, ref)
    finished = await stage.lease_and_finish(ref, first.call_id, "null")
    assert isinstance(finished.attempt_outcome, Completed)
    assert [order.call_id for order in await _waiting(stage, ref)] == [second.call_id]
    assert await stage.has_pending_deliveries(ref)
    await stage.lease_and_finish(ref, second.call_id, "null")
    assert await _waiting(stage, ref) == []
    assert not await stage.has_pending_deliveries(ref)
    rows = await stage.rows(tables.deliveries)
    assert [row["status"] for row in rows] == ["delivered", "delivered"]
    assert all(row["settled_at"] is not None for row in rows)


async def test_a_handler_that_fails_is_called_again_and_again(stage: Stage) -> None:
    ref = await stage.finished(on_status_change=HANDLER)
    first = (await _waiting(stage, ref))[0]
    for _ in range(12):
        await stage.lease(ref, first.call_id)
        again = await stage.finish(first.call_id, "no", kind=ResultType.REJECTION)
        assert isinstance(again.attempt_outcome, Retry)
    assert (await _waiting(stage, ref))[0].call_id == first.call_id
    await stage.lease_and_finish(ref, first.call_id, "null")
    assert (await _waiting(stage, ref))[0].call_id != first.call_id


async def test_a_handler_works_on_after_its_run_has_ended(stage: Stage) -> None:
    """Unlike a function: its results are wanted whatever the run's status is."""
    ref = await stage.run(on_status_change=HANDLER)
    await stage.store.runs.cancel(ref, "enough")
    (order,) = await _waiting(stage, ref)
    await stage.lease(ref, order.call_id)
    assert (await stage.get_lease(order.call_id))[1] is False
    assert isinstance((await stage.finish(order.call_id, "null")).attempt_outcome, Completed)


async def test_a_delivery_that_is_abandoned_is_dead_and_visible(stage: Stage) -> None:
    ref = await stage.finished(on_status_change=HANDLER)
    first, second = await _waiting(stage, ref)
    (left,) = await _waiting(stage, ref, first.call_id)
    assert left.call_id == second.call_id
    rows = await stage.rows(tables.deliveries)
    assert [row["status"] for row in rows] == ["dead", "pending"]
    dead = {"transition": 1, "callId": first.call_id}
    assert await stage.events(ref, "delivery.dead") == [dead]
    await _waiting(stage, ref, first.call_id)
    assert await stage.events(ref, "delivery.dead") == [dead], "buried twice"


async def test_a_delivery_that_came_through_at_the_last_moment_is_not_dead(stage: Stage) -> None:
    ref = await stage.finished(on_status_change=HANDLER)
    first, _ = await _waiting(stage, ref)
    await stage.lease_and_finish(ref, first.call_id, "null")
    await _waiting(stage, ref, first.call_id)
    assert (await stage.rows(tables.deliveries))[0]["status"] == "delivered"


async def test_nobody_buries_another_runs_delivery(stage: Stage) -> None:
    theirs = await stage.finished(on_status_change=HANDLER)
    ours = await stage.finished(on_status_change=HANDLER)
    (order, _) = await _waiting(stage, theirs)
    assert len(await _waiting(stage, ours, order.call_id)) == 2
    assert len(await _waiting(stage, theirs)) == 2


async def test_deliveries_leave_no_events_of_calls(stage: Stage) -> None:
    ref = await stage.finished(on_status_change=HANDLER)
    before = await stage.event_types(ref)
    for order in await _waiting(stage, ref):
        await stage.lease_and_finish(ref, order.call_id, "null")
    assert await stage.event_types(ref) == before
    assert [kind for kind, _ in await stage.messages(ref)] == ["human", "agent"]


async def test_a_handlers_own_settings_bound_its_calls(stage: Stage) -> None:
    config = FunctionConfig(timeout_seconds=9, deadline_seconds=600, handler=True)
    await stage.register("announce", config=config)
    ref = await stage.run(on_status_change=HANDLER)
    await stage.begin_step(ref)
    (order,) = await _waiting(stage, ref)
    assert order.queue == f"{stage.cluster_id}/sales/announce"
    assert order.timeout == pytest.approx(9 + 5)
    assert 590 < order.deadline <= 600


async def test_a_handler_that_is_not_registered_any_more_waits_a_day(stage: Stage) -> None:
    ref = await stage.run(on_status_change=HANDLER)
    await stage.begin_step(ref)
    (order,) = await _waiting(stage, ref)
    assert order.deadline == pytest.approx(DEFAULT_DEADLINE_MS / 1000, abs=30)
    await stage.alter(tables.calls, created_at=0)
    (order,) = await _waiting(stage, ref)
    assert order.deadline == 1.0


async def test_a_deleted_run_has_nothing_to_deliver(stage: Stage) -> None:
    assert await _waiting(stage, RunRef(stage.cluster_id, "gone"), "call") == []


async def test_a_turn_of_many_transitions_is_delivered_in_batches(stage: Stage) -> None:
    ref = await stage.run(on_status_change=HANDLER)
    for _ in range(6):
        await stage.think(ref, text_of("an answer"))
        await stage.send(ref, "and?")
    delivered: list[int] = []
    while orders := await _waiting(stage, ref):
        for order in orders:
            call = await stage.call_row(order.call_id)
            delivered.append(int(str(object_from_json(call["input"])["transition"])))
            await stage.lease_and_finish(ref, order.call_id, "null")
    assert delivered == list(range(1, 19))
