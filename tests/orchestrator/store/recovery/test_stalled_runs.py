"""What the sweeper finds: everything that would otherwise stand still, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.llm.messages import UserTurn
from orchestrator.llm.transcript import turns
from orchestrator.rules.lifecycle import Trigger
from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from orchestrator.store.database.json_columns import object_from_json
from orchestrator.store.recovery.stalled_runs import (
    LOST_AFTER_MS,
    STALLED_AFTER_MS,
    SUSPEND_AFTER_MS,
    SweepStore,
    WaitingCall,
)
from orchestrator.workflows.interface import RunRef
from perdure.contract import FunctionConfig
from tests.support.stage import HANDLER, Stage, text_of

runs, calls = tables.runs, tables.calls
LONG_AGO = 60_000


@pytest.fixture
def sweeps(stage: Stage) -> SweepStore:
    return stage.store.sweeps


def _soon() -> int:
    """Just after everything that was written so far."""
    return now_ms() + 1


async def _waits(
    stage: Stage, *, machine_alive: bool = False, retries: int = 0
) -> tuple[RunRef, str]:
    """A run whose call nobody took yet."""
    config = FunctionConfig(retries=retries)
    await stage.register("query", config=config, alive_for=60_000 if machine_alive else -1)
    ref = await stage.run()
    (order,) = await stage.called(ref)
    return ref, order.call_id


async def _reported(stage: Stage) -> tuple[RunRef, str]:
    """A run that says that it waits for a function worker."""
    ref, call_id = await _waits(stage)
    for waiting in await stage.store.sweeps.calls_without_worker(_soon()):
        await stage.store.sweeps.report_waiting(waiting)
    return ref, call_id


async def _suspended(stage: Stage) -> tuple[RunRef, str]:
    ref, call_id = await _reported(stage)
    await stage.alter(runs, waiting_since=now_ms() - SUSPEND_AFTER_MS - 1)
    assert await stage.woken_by(stage.store.sweeps.suspend()) == [ref]
    return ref, call_id


# -- requests nobody read ----------------------------------------------------------------------------


async def test_a_request_that_no_workflow_read_is_found_until_one_does(
    stage: Stage, sweeps: SweepStore
) -> None:
    ref = await stage.run()
    assert await sweeps.runs_with_unread_requests(_soon()) == [ref]
    await stage.begin_step(ref)
    assert await sweeps.runs_with_unread_requests(_soon()) == []
    await stage.send(ref, "more")
    assert await sweeps.runs_with_unread_requests(_soon()) == [ref]
    await stage.store.calls.read_pending_requests(ref)
    assert await sweeps.runs_with_unread_requests(_soon()) == []


async def test_a_recent_request_is_left_to_its_own_signal(stage: Stage, sweeps: SweepStore) -> None:
    await stage.run()
    assert await sweeps.runs_with_unread_requests(now_ms() - LONG_AGO) == []


async def test_nobody_is_signalled_for_a_run_that_has_ended(
    stage: Stage, sweeps: SweepStore
) -> None:
    ref = await stage.run()
    await stage.store.runs.cancel(ref, "enough")
    assert await sweeps.runs_with_unread_requests(_soon()) == []


@pytest.mark.parametrize("kind", ["message", "cancel", "resume"])
async def test_every_request_survives_the_loss_of_its_signal(
    stage: Stage, sweeps: SweepStore, kind: str
) -> None:
    ref = await stage.run()
    await stage.begin_step(ref)
    if kind == "message":
        await stage.send(ref, "more")
    elif kind == "cancel":
        await stage.store.runs.cancel(ref, "enough")
    else:
        await stage.store.steps.abort_turn(ref, 1, Trigger.PAUSE, "no money", attempt=1)
        await stage.store.runs.resume(ref)
    assert await sweeps.runs_with_unread_requests(_soon()) == [ref]


async def test_runs_in_which_nothing_happens_for_long_are_found(
    stage: Stage, sweeps: SweepStore
) -> None:
    stuck, ended, fresh = await stage.run(), await stage.finished(), await stage.run()
    waiting, _ = await _waits(stage)
    await stage.begin_step(stuck)
    past = now_ms() - STALLED_AFTER_MS - 1
    for ref in (stuck, ended, waiting):
        await stage.alter(runs, runs.c.id == ref.run_id, updated_at=past, wake_at=past)
    assert fresh not in await sweeps.stalled_runs()
    assert await sweeps.stalled_runs() == [stuck]


async def test_deliveries_that_nobody_drives_are_found_until_they_are_settled(
    stage: Stage, sweeps: SweepStore
) -> None:
    ref = await stage.finished(on_status_change=HANDLER)
    assert (await sweeps.undelivered_runs(now_ms() - LONG_AGO)).refs == []
    assert (await sweeps.undelivered_runs(_soon())).refs == [ref]
    first, second = await stage.store.deliveries.list_pending(ref, [])
    await stage.lease_and_finish(ref, first.call_id, "null")
    assert (await sweeps.undelivered_runs(_soon())).refs == [ref]
    await stage.store.deliveries.list_pending(ref, [second.call_id])
    assert (await sweeps.undelivered_runs(_soon())).refs == []


async def test_many_handlers_that_are_away_starve_nobody(stage: Stage, sweeps: SweepStore) -> None:
    """Open deliveries stay open, so each sweep goes on where the last one ended, and begins anew at the end."""
    refs = [await stage.finished(on_status_change=HANDLER) for _ in range(5)]
    after, seen = 0, list[RunRef]()
    for expected in (2, 2, 1):
        found = await sweeps.undelivered_runs(_soon(), after=after, limit=2)
        assert len(found.refs) == expected
        seen += found.refs
        after = found.next_after
    assert seen == refs
    assert after == 0


async def test_a_handler_that_is_away_does_not_hide_that_its_run_is_stalled(
    stage: Stage, sweeps: SweepStore
) -> None:
    ref = await stage.run(on_status_change=HANDLER)
    await stage.begin_step(ref)
    past = now_ms() - STALLED_AFTER_MS - 1
    await stage.alter(runs, runs.c.id == ref.run_id, updated_at=past, wake_at=past)
    assert await stage.has_pending_deliveries(ref)
    assert await sweeps.stalled_runs() == [ref]


# -- calls nobody takes ----------------------------------------------------------------------------


async def test_a_call_without_a_machine_is_reported_as_waiting_once(
    stage: Stage, sweeps: SweepStore
) -> None:
    ref, call_id = await _waits(stage)
    (waiting,) = await sweeps.calls_without_worker(_soon())
    assert waiting.call_id == call_id
    await asyncio.gather(*(sweeps.report_waiting(waiting) for _ in range(3)))
    assert await sweeps.calls_without_worker(_soon()) == []
    (event,) = await stage.events(ref, "run.waiting")
    assert event == object_from_json((await stage.get_run(ref)).waiting_for or "")
    assert event["detail"] == "No function worker offers sales.query."
    assert (event["kind"], event["service"], event["function"], event["callId"]) == (
        *("function", "sales", "query", call_id),
    )
    assert (await stage.get_run(ref)).status == "running"


async def test_a_call_with_a_live_machine_or_a_young_one_is_left_alone(
    stage: Stage, sweeps: SweepStore
) -> None:
    await _waits(stage, machine_alive=True)
    assert await sweeps.calls_without_worker(_soon()) == []
    await stage.alter(tables.machines, alive_until=0)
    assert await sweeps.calls_without_worker(now_ms() - LONG_AGO) == []
    assert len(await sweeps.calls_without_worker(_soon())) == 1


async def test_a_machine_of_another_service_or_cluster_is_no_help(
    stage: Stage, sweeps: SweepStore
) -> None:
    await _waits(stage)
    await stage.register("query", service="other", machine="m2")
    ours = Stage(stage.store, await stage.store.keys.ensure_cluster("ours"))
    await ours.register("query")
    assert len(await sweeps.calls_without_worker(_soon())) == 1


async def test_a_call_is_waiting_again_when_its_machine_was_lost(
    stage: Stage, sweeps: SweepStore
) -> None:
    ref, call_id = await _waits(stage, retries=1)
    await stage.lease(ref, call_id)
    await stage.acknowledge(call_id)
    assert await sweeps.calls_without_worker(_soon()) == []
    await stage.alter(calls, handed_out_at=now_ms() - LOST_AFTER_MS - 1_000)
    (waiting,) = await sweeps.calls_without_worker(_soon())
    assert await stage.woken_by(sweeps.report_waiting(waiting)) == []
    assert (await stage.get_run(ref)).waiting_for is not None


async def test_a_lost_call_without_attempts_left_is_answered_at_once(
    stage: Stage, sweeps: SweepStore
) -> None:
    ref, call_id = await _waits(stage)
    await stage.lease(ref, call_id)
    await stage.acknowledge(call_id)
    await stage.alter(calls, handed_out_at=now_ms() - LOST_AFTER_MS - 1_000)
    (waiting,) = await sweeps.calls_without_worker(_soon())
    assert await stage.woken_by(sweeps.report_waiting(waiting)) == [ref]
    assert await stage.woken_by(sweeps.report_waiting(waiting)) == []
    run = await stage.get_run(ref)
    assert run.wake_wanted > run.wake_read
    last = turns((await stage.begin_step(ref)).entries)[-1]
    assert isinstance(last, UserTurn)
    assert last.results[0].is_error
    assert "did not return after 1 attempt:" in last.results[0].content


async def test_a_machine_that_comes_in_between_is_noticed(stage: Stage, sweeps: SweepStore) -> None:
    ref, call_id = await _waits(stage)
    (waiting,) = await sweeps.calls_without_worker(_soon())
    await stage.lease(ref, call_id)
    assert await stage.woken_by(sweeps.report_waiting(waiting)) == []
    assert (await stage.get_run(ref)).waiting_for is None


async def test_a_call_that_ended_in_between_waits_for_nobody(
    stage: Stage, sweeps: SweepStore
) -> None:
    ref, call_id = await _waits(stage)
    (waiting,) = await sweeps.calls_without_worker(_soon())
    await stage.lease_and_finish(ref, call_id)
    version = (await stage.get_run(ref)).version
    assert await stage.woken_by(sweeps.report_waiting(waiting)) == []
    assert await stage.woken_by(sweeps.report_waiting(WaitingCall(waiting.run_key, "gone"))) == []
    assert (await stage.get_run(ref)).version == version


async def test_a_run_stops_waiting_when_its_call_is_leased(stage: Stage) -> None:
    ref, call_id = await _reported(stage)
    await stage.lease(ref, call_id)
    run = await stage.get_run(ref)
    assert (run.waiting_for, run.waiting_since) == (None, None)


async def test_a_handler_that_is_away_does_not_make_its_run_wait(
    stage: Stage, sweeps: SweepStore
) -> None:
    ref = await stage.run(on_status_change=HANDLER)
    await stage.begin_step(ref)
    assert await sweeps.calls_without_worker(_soon()) == []


# -- parked ----------------------------------------------------------------------------------------


async def test_a_run_that_waits_for_long_is_suspended_once(
    stage: Stage, sweeps: SweepStore
) -> None:
    ref, _ = await _reported(stage)
    assert await stage.woken_by(sweeps.suspend()) == []
    await stage.alter(runs, waiting_since=now_ms() - SUSPEND_AFTER_MS - 1)
    assert await stage.woken_by(sweeps.suspend()) == [ref]
    assert await stage.woken_by(sweeps.suspend()) == []
    run = await stage.get_run(ref)
    assert run.wake_wanted > run.wake_read
    assert (await stage.store.calls.read_pending_requests(ref)).parked


async def test_a_suspended_run_goes_on_when_a_machine_comes(
    stage: Stage, sweeps: SweepStore
) -> None:
    ref, call_id = await _suspended(stage)
    assert await stage.woken_by(sweeps.resume_suspended()) == []
    await stage.register("query", machine="m2")
    assert await stage.woken_by(sweeps.resume_suspended()) == [ref]
    assert await stage.woken_by(sweeps.resume_suspended()) == []
    run = await stage.get_run(ref)
    assert (run.parked, run.waiting_for) == (False, None)
    state = await stage.begin(ref)
    assert [order.call_id for order in getattr(state, "orders", [])] == [call_id]


async def test_a_suspended_run_goes_on_when_its_calls_time_is_up(
    stage: Stage, sweeps: SweepStore
) -> None:
    """Its workflow is closed, so no timer of Temporal's would say that the call's deadline passed."""
    ref, call_id = await _suspended(stage)
    await stage.alter(calls, calls.c.id == call_id, deadline_ms=0)
    assert await stage.woken_by(sweeps.resume_suspended()) == [ref]
    state = await stage.begin(ref)
    (order,) = getattr(state, "orders", [])
    assert order.deadline == 1.0


async def test_a_suspended_run_can_be_cancelled(stage: Stage, sweeps: SweepStore) -> None:
    ref, _ = await _suspended(stage)
    await stage.store.calls.read_pending_requests(ref)
    await stage.store.runs.cancel(ref, "enough")
    assert await sweeps.runs_with_unread_requests(_soon()) == [ref]
    await stage.begin(ref)
    assert (await stage.get_run(ref)).status == "cancelled"
    assert await stage.woken_by(sweeps.resume_suspended()) == []


async def test_a_run_that_waits_for_its_model_is_not_suspended(
    stage: Stage, sweeps: SweepStore
) -> None:
    ref = await stage.run()
    await stage.begin_step(ref)
    await stage.store.steps.report_retry(ref, 1, "overloaded", None)
    await stage.alter(runs, waiting_since=now_ms() - SUSPEND_AFTER_MS - 1)
    assert await stage.woken_by(sweeps.suspend()) == []
    assert (await stage.think(ref, text_of("the answer"))).status == "done"
