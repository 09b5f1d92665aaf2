"""Calls that are given, with the reply that asks for them, to the process that records it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from orchestrator.errors import SupersededError
from orchestrator.store.calls.outcomes import AtCapacity, Completed, Discarded, Leased
from orchestrator.store.conversation.steps import RecordedStep
from orchestrator.workflows.interface import CallOutcome, CallRef, CallSchedule, RunRef
from perdure.contract import FunctionConfig
from tests.support.stage import Stage, calls_for, plan_of


@dataclass(frozen=True)
class Process:
    """One that hosts functions, and has room for so many calls."""

    capacity: int = 9
    machine_id: str = "the-worker"

    def has_capacity(self, calls: Sequence[CallSchedule]) -> bool:
        return len(calls) <= self.capacity


async def _record(stage: Stage, ref: RunRef, *names: str, maker: Process) -> RecordedStep:
    question = await stage.begin_step(ref)
    return await stage.store.steps.record(
        question,
        plan_of(question, calls_for(*names)),
        seen=question.entries[-1].key,
        attempt=1,
        duration_ms=7,
        executor=maker,
    )


async def _calls(stage: Stage, recorded: RecordedStep) -> list[tuple[Any, ...]]:
    rows = [await stage.call_row(order.call_id) for order in recorded.state.orders]
    return [(row["status"], row["machine_id"], row["handouts"], row["attempts"]) for row in rows]


async def test_calls_begin_with_the_reply_that_asks_for_them(stage: Stage) -> None:
    await stage.register("query", config=FunctionConfig(retries=5))
    ref = await stage.run()
    recorded = await _record(stage, ref, "sales_query", "sales_query", maker=Process())
    ids = [order.call_id for order in recorded.state.orders]
    assert [(given.call.id, given.call.attempt) for given in recorded.leased] == [
        (ids[0], 1),
        (ids[1], 1),
    ]
    assert await _calls(stage, recorded) == [("running", "the-worker", 1, 1)] * 2
    events = await stage.event_types(ref)
    assert events[-5:] == ["step.recorded", *["call.created"] * 2, *["call.started"] * 2]
    refused = await stage.store.calls.lease(CallRef(ref, ids[0]), "another", None)
    assert refused == Discarded("another machine works on it")


async def test_a_result_counts_from_the_process_that_has_the_call(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run()
    recorded = await _record(stage, ref, "sales_query", maker=Process())
    await stage.finish(recorded.leased[0].call.id, machine="the-worker")
    assert await _calls(stage, recorded) == [("success", "the-worker", 1, 1)]


@pytest.mark.parametrize(
    ("config", "room"),
    [
        (FunctionConfig(), 1),
        (FunctionConfig(concurrency=5), 9),
    ],
    ids=["no room", "a limit of all machines together"],
)
async def test_calls_that_may_have_to_wait_are_given_to_nobody(
    stage: Stage, config: FunctionConfig, room: int
) -> None:
    await stage.register("query", config=config)
    ref = await stage.run()
    recorded = await _record(stage, ref, "sales_query", "sales_query", maker=Process(room))
    assert recorded.leased == ()
    assert await _calls(stage, recorded) == [("pending", None, 0, 0)] * 2


async def test_nothing_is_given_while_a_person_is_asked(stage: Stage) -> None:
    await stage.register("query", config=FunctionConfig(requires_approval=True))
    await stage.register("look", service="other", machine="m2")
    ref = await stage.run()
    recorded = await _record(stage, ref, "sales_query", "other_look", maker=Process())
    assert (recorded.leased, recorded.state.status) == ((), "paused")
    assert await _calls(stage, recorded) == [("pending", None, 0, 0)]


async def test_nothing_is_given_of_a_run_that_is_to_be_cancelled(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run()
    question = await stage.begin_step(ref)
    await stage.store.runs.cancel(ref, "not needed")
    recorded = await stage.store.steps.record(
        question,
        plan_of(question, calls_for("sales_query")),
        seen=question.entries[-1].key,
        attempt=1,
        duration_ms=7,
        executor=Process(),
    )
    assert (recorded.leased, recorded.state.status) == ((), "cancelled")


async def _runs_in_process(stage: Stage, *, retries: int = 0) -> CallRef:
    await stage.register("query", machine="the-worker", config=FunctionConfig(retries=retries))
    ref = await stage.run()
    recorded = await _record(stage, ref, "sales_query", maker=Process())
    return CallRef(ref, recorded.leased[0].call.id)


@pytest.mark.parametrize("retries", [0, 5])
async def test_what_a_living_process_makes_within_a_step_waits_for_it(
    stage: Stage, retries: int
) -> None:
    """Also where the function has no attempt left: its result is on the way."""
    call_ref = await _runs_in_process(stage, retries=retries)
    for token in (b"of an activity", None):
        assert await stage.store.calls.lease(call_ref, "another", token) == AtCapacity(None)
    await stage.finish(call_ref.call_id, machine="the-worker")
    settled = await stage.store.calls.lease(call_ref, "another", b"of an activity")
    assert settled == Completed(CallOutcome(call_ref.call_id))


async def test_what_a_process_ran_with_no_sign_of_life_goes_to_another_one(
    stage: Stage,
) -> None:
    call_ref = await _runs_in_process(stage, retries=5)
    await stage.register("query", machine="the-worker", alive_for=-1)
    given = await stage.store.calls.lease(call_ref, "another", b"of an activity")
    assert isinstance(given, Leased)
    assert given.call.attempt == 2
    with pytest.raises(SupersededError):
        await stage.finish(call_ref.call_id, machine="the-worker")


async def test_what_a_process_made_that_is_dead_goes_to_another_one_at_once(stage: Stage) -> None:
    call_ref = await _runs_in_process(stage, retries=5)
    await stage.store.lost_leases.release_all_of(stage.cluster_id, "the-worker")
    given = await stage.store.calls.lease(call_ref, "another", None, started=True)
    assert isinstance(given, Leased)
    assert (await stage.call_row(call_ref.call_id))["attempts"] == 2
