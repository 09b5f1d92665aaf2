"""Machines that send no heartbeats: they are believed until the call's timeout, and notified of nothing."""

from __future__ import annotations

from orchestrator.rules.lifecycle import Trigger
from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from orchestrator.store.calls.outcomes import Retry
from orchestrator.store.recovery.stalled_runs import LOST_AFTER_MS
from orchestrator.workflows.interface import RunRef
from perdure.contract import FunctionConfig, ResultType
from tests.support.stage import Stage

calls = tables.calls
REJECTED = ResultType.REJECTION


async def _leased(stage: Stage, config: FunctionConfig) -> tuple[RunRef, str]:
    """A call that a machine has which was not heard of since."""
    await stage.register("query", config=config, heartbeats=False, alive_for=-1)
    ref = await stage.run()
    (order,) = await stage.called(ref)
    assert order.heartbeat is None
    await stage.lease(ref, order.call_id)
    return ref, order.call_id


async def test_a_call_of_a_silent_machine_counts_as_lost_when_its_timeout_has_passed(
    stage: Stage,
) -> None:
    ref, call_id = await _leased(stage, FunctionConfig(timeout_seconds=100))
    assert await stage.store.calls.acknowledge(stage.cluster_id, call_id, "m1", 1)
    sweeps = stage.store.sweeps
    await stage.alter(calls, handed_out_at=now_ms() - LOST_AFTER_MS - 99_000)
    assert await sweeps.calls_without_worker(now_ms()) == []

    await stage.alter(calls, handed_out_at=now_ms() - LOST_AFTER_MS - 100_001)
    (waiting,) = await sweeps.calls_without_worker(now_ms())
    assert await stage.woken_by(sweeps.report_waiting(waiting)) == [ref]
    assert (await stage.call_row(call_id))["status"] == "failure"


async def test_a_call_found_lost_is_left_alone_when_it_was_leased_meanwhile(
    stage: Stage,
) -> None:
    _, call_id = await _leased(stage, FunctionConfig(timeout_seconds=100))
    await stage.alter(calls, handed_out_at=now_ms() - LOST_AFTER_MS - 100_001)
    (waiting,) = await stage.store.sweeps.calls_without_worker(now_ms())
    await stage.alter(calls, handed_out_at=now_ms() - LOST_AFTER_MS - 1)
    assert await stage.woken_by(stage.store.sweeps.report_waiting(waiting)) == []
    assert (await stage.call_row(call_id))["status"] == "running"


async def test_retries_on_stall_are_for_functions_that_were_lost_not_for_those_that_raised(
    stage: Stage,
) -> None:
    _, call_id = await _leased(stage, FunctionConfig(retry_count_on_stall=2))
    assert (await stage.call_row(call_id))["max_attempts"] == 3
    await stage.finish(call_id, "no", kind=REJECTED)
    assert (await stage.call_row(call_id))["status"] == "failure"


async def test_retries_are_for_functions_that_raised_too(stage: Stage) -> None:
    _, call_id = await _leased(stage, FunctionConfig(retries=2, retry_count_on_stall=1))
    finished = await stage.finish(call_id, "no", kind=REJECTED)
    assert isinstance(finished.attempt_outcome, Retry)


async def test_a_result_that_was_not_accepted_is_an_event_of_a_run_that_goes_on(
    stage: Stage,
) -> None:
    ref, call_id = await _leased(stage, FunctionConfig())
    await stage.finish(call_id)
    await stage.store.calls.log_superseded(stage.cluster_id, call_id, "m1")
    noted = {"callId": call_id, "machineId": "m1"}
    assert await stage.events(ref, "call.superseded") == [noted]


async def test_nothing_is_recorded_on_a_run_that_has_ended(stage: Stage) -> None:
    ref, call_id = await _leased(stage, FunctionConfig())
    await stage.finish(call_id)
    await stage.store.steps.abort_turn(ref, 2, Trigger.FAIL, "enough", attempt=1)
    version = (await stage.get_run(ref)).version
    assert (await stage.get_run(ref)).status == "failed"
    await stage.store.calls.log_superseded(stage.cluster_id, call_id, "m1")
    assert (await stage.get_run(ref)).version == version
