"""Calls: one machine at a time, one result, and the function's attempts counted where it tried."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.errors import NotFoundError, SupersededError
from orchestrator.llm.messages import UserTurn
from orchestrator.llm.transcript import turns
from orchestrator.rules.lifecycle import Trigger
from orchestrator.store import tables
from orchestrator.store.calls.outcomes import Completed, Discarded, ResultRecorded, Retry
from orchestrator.store.calls.rows import MAX_UNACKNOWLEDGED
from orchestrator.workflows.interface import CallOutcome, CallRef, RunRef
from perdure.contract import FunctionCall, FunctionConfig, ResultType
from tests.support.stage import Stage, text_of

REJECTED = ResultType.REJECTION


async def _called(stage: Stage, *, retries: int = 0, **changes: Any) -> tuple[RunRef, str]:
    """A run whose model called a function; the call's id."""
    heartbeats: bool = changes.pop("heartbeats", True)
    config = FunctionConfig(retries=retries, timeout_seconds=7.5)
    await stage.register("query", config=config, heartbeats=heartbeats)
    ref = await stage.run(**changes)
    (order,) = await stage.called(ref)
    return ref, order.call_id


async def _shown(stage: Stage, ref: RunRef) -> list[tuple[bool, str]]:
    """What the model is shown of its calls' results."""
    last = turns((await stage.begin_step(ref)).entries)[-1]
    assert isinstance(last, UserTurn)
    return [(result.is_error, result.content) for result in last.results]


# -- leased -----------------------------------------------------------------------------------------


async def test_a_machine_is_given_what_to_do_and_for_how_long(stage: Stage) -> None:
    ref, call_id = await _called(stage, context={"user": 7})
    given = await stage.lease(ref, call_id)
    assert given == FunctionCall(
        id=call_id,
        service="sales",
        function="query",
        input={},
        run_id=ref.run_id,
        run_context={"user": 7},
        attempt=1,
        timeout_seconds=7.5,
    )
    row = await stage.call_row(call_id)
    assert (row["status"], row["machine_id"], row["attempts"]) == ("running", "m1", 0)
    assert await stage.events(ref, "call.started") == [
        {"callId": call_id, "machineId": "m1", "attempt": 1}
    ]


async def test_a_call_with_a_result_is_completed_instead_of_given_out_again(stage: Stage) -> None:
    ref, call_id = await _called(stage)
    await stage.lease_and_finish(ref, call_id)
    again = await stage.store.calls.lease(CallRef(ref, call_id), "m2", b"later")
    assert again == Completed(CallOutcome(call_id))
    assert (await stage.call_row(call_id))["handouts"] == 1


async def test_nobody_is_given_a_call_of_a_run_that_has_ended(stage: Stage) -> None:
    ref, call_id = await _called(stage)
    await stage.store.runs.cancel(ref, "enough")
    await stage.store.runs.end_turn(ref, Trigger.CANCEL, "")
    given = await stage.store.calls.lease(CallRef(ref, call_id), "m1", b"t")
    assert given == Discarded("the run is cancelled")


async def test_a_call_that_is_no_more_is_unwanted(stage: Stage) -> None:
    ref, call_id = await _called(stage)
    for call_ref in (CallRef(ref, "gone"), CallRef(RunRef(ref.cluster_id, "gone"), call_id)):
        given = await stage.store.calls.lease(call_ref, "m1", b"t")
        assert isinstance(given, Discarded)


# -- acknowledged ----------------------------------------------------------------------------------


async def test_an_attempt_counts_when_the_machine_says_that_it_works(stage: Stage) -> None:
    ref, call_id = await _called(stage)
    await stage.lease(ref, call_id, token=b"lease")
    assert [await stage.acknowledge(call_id) for _ in range(3)] == [True, False, False]
    assert await stage.get_lease(call_id) == (b"lease", False)
    assert (await stage.call_row(call_id))["attempts"] == 1


async def test_many_heartbeats_at_once_count_one_attempt(stage: Stage, elsewhere: Stage) -> None:
    ref, call_id = await _called(stage)
    await stage.lease(ref, call_id)
    counted = await asyncio.gather(
        *(place.acknowledge(call_id) for place in [stage, elsewhere] * 4)
    )
    assert counted.count(True) == 1
    assert (await stage.call_row(call_id))["attempts"] == 1


async def test_a_result_and_a_heartbeat_that_race_count_one_attempt(
    stage: Stage, elsewhere: Stage
) -> None:
    for _ in range(5):
        ref, call_id = await _called(stage)
        await stage.lease(ref, call_id)
        await asyncio.gather(stage.finish(call_id), elsewhere.acknowledge(call_id))
        row = await stage.call_row(call_id)
        assert (row["attempts"], row["status"]) == (1, "success")


async def test_a_lease_alone_counts_no_attempt_not_even_of_a_machine_without_heartbeats(
    stage: Stage,
) -> None:
    ref, call_id = await _called(stage, heartbeats=False)
    await stage.lease(ref, call_id)
    row = await stage.call_row(call_id)
    assert (row["attempts"], row["acknowledged"]) == (0, False)


async def test_a_machine_learns_from_its_heartbeat_that_the_run_was_cancelled(
    stage: Stage,
) -> None:
    ref, call_id = await _called(stage)
    await stage.lease(ref, call_id)
    await stage.store.runs.cancel(ref, "enough")
    assert (await stage.get_lease(call_id))[1] is True
    await stage.store.runs.end_turn(ref, Trigger.CANCEL, "")
    assert (await stage.get_lease(call_id))[1] is True


# -- finished --------------------------------------------------------------------------------------


async def test_a_result_is_stored_shown_and_recorded(stage: Stage) -> None:
    ref, call_id = await _called(stage)
    finished = await stage.lease_and_finish(ref, call_id, '{"rows":3}')
    assert finished.run == ref
    assert (finished.token, finished.attempt_outcome) == (b"token", Completed(CallOutcome(call_id)))
    row = await stage.call_row(call_id)
    assert (row["status"], row["result_type"], row["result_size"]) == ("success", "resolution", 10)
    assert await _shown(stage, ref) == [(False, '{"rows":3}')]
    assert await stage.events(ref, "call.finished") == [
        {
            "callId": call_id,
            "service": "sales",
            "function": "query",
            "resultType": "resolution",
            "size": 10,
        }
    ]


async def test_a_function_that_fails_for_good_is_a_result_the_model_sees(stage: Stage) -> None:
    ref, call_id = await _called(stage)
    await stage.lease(ref, call_id)
    finished = await stage.finish(call_id, "ValueError: no such table", kind=REJECTED)
    assert isinstance(finished.attempt_outcome, Completed)
    assert (await stage.get_run(ref)).status == "running"
    assert await _shown(stage, ref) == [(True, "ValueError: no such table")]


async def test_an_attempt_that_fails_is_repeated_with_growing_pauses(stage: Stage) -> None:
    ref, call_id = await _called(stage, retries=3)
    delays: list[float] = []
    for attempt in range(1, 4):
        await stage.lease(ref, call_id)
        finished = await stage.finish(call_id, f"try {attempt}", kind=REJECTED)
        assert isinstance(finished.attempt_outcome, Retry)
        delays.append(finished.attempt_outcome.delay)
        row = await stage.call_row(call_id)
        assert (row["status"], row["attempts"], row["last_error"]) == (
            "pending",
            attempt,
            f"try {attempt}",
        )
    assert delays == [1.0, 2.0, 4.0]
    await stage.lease(ref, call_id)
    last = await stage.finish(call_id, "try 4", kind=REJECTED)
    assert last.attempt_outcome == Completed(CallOutcome(call_id))
    assert await _shown(stage, ref) == [(True, "try 4")]
    assert [event["delay"] for event in await stage.events(ref, "call.retried")] == delays


async def test_a_pause_between_attempts_is_never_longer_than_a_minute(stage: Stage) -> None:
    ref, call_id = await _called(stage, retries=100)
    await stage.alter(tables.calls, attempts=60)
    await stage.lease(ref, call_id)
    finished = await stage.finish(call_id, "again", kind=REJECTED)
    assert isinstance(finished.attempt_outcome, Retry)
    assert finished.attempt_outcome.delay == 60.0


async def test_an_attempt_whose_machine_was_lost_counts(stage: Stage) -> None:
    ref, call_id = await _called(stage, retries=1)
    for machine in ("m1", "m2"):
        await stage.lease(ref, call_id, machine)
        await stage.acknowledge(call_id, machine)
    given = await stage.store.calls.lease(CallRef(ref, call_id), "m3", b"t")
    assert given == Completed(CallOutcome(call_id))
    ((is_error, content),) = await _shown(stage, ref)
    assert is_error
    assert "did not return after 2 attempts" in content


async def test_a_lease_that_reached_no_machine_costs_the_function_nothing(stage: Stage) -> None:
    ref, call_id = await _called(stage)
    for _ in range(MAX_UNACKNOWLEDGED):
        await stage.lease(ref, call_id)
    assert (await stage.call_row(call_id))["attempts"] == 0
    given = await stage.store.calls.lease(CallRef(ref, call_id), "m1", b"t")
    assert isinstance(given, Completed)
    ((is_error, content),) = await _shown(stage, ref)
    assert is_error
    assert f"leased {MAX_UNACKNOWLEDGED} times, but no function worker received it" in content


# -- results that do not count ---------------------------------------------------------------------


async def test_a_second_result_is_refused(stage: Stage) -> None:
    ref, call_id = await _called(stage)
    await stage.lease_and_finish(ref, call_id, '"first"')
    with pytest.raises(SupersededError, match="has its result already"):
        await stage.finish(call_id, '"second"')
    assert await _shown(stage, ref) == [(False, '"first"')]


async def test_of_many_results_at_once_one_counts(stage: Stage, elsewhere: Stage) -> None:
    ref, call_id = await _called(stage)
    await stage.lease(ref, call_id)
    outcomes = await asyncio.gather(
        *(
            place.finish(call_id, f'"{number}"')
            for number, place in enumerate([stage, elsewhere] * 3)
        ),
        return_exceptions=True,
    )
    assert len([one for one in outcomes if isinstance(one, ResultRecorded)]) == 1
    assert len([one for one in outcomes if isinstance(one, SupersededError)]) == 5
    assert len(await stage.rows(tables.call_results)) == 1
    assert len(await stage.events(ref, "call.finished")) == 1


async def test_a_result_of_another_machine_is_refused(stage: Stage) -> None:
    ref, call_id = await _called(stage)
    await stage.lease(ref, call_id, "m1")
    assert not await stage.acknowledge(call_id, "m2")
    for attempt in (stage.finish(call_id, machine="m2"), stage.get_lease(call_id, "m2")):
        with pytest.raises(SupersededError, match="not this machine's"):
            await attempt
    assert (await stage.call_row(call_id))["result_type"] is None


async def test_a_result_of_an_earlier_lease_is_refused(stage: Stage) -> None:
    ref, call_id = await _called(stage, retries=5)
    await stage.lease(ref, call_id)
    await stage.lease(ref, call_id, token=b"second")
    assert not await stage.acknowledge(call_id, attempt=1)
    with pytest.raises(SupersededError):
        await stage.finish(call_id, attempt=1)
    finished = await stage.finish(call_id, attempt=2)
    assert finished.token == b"second"


async def test_nobody_holds_a_call_between_two_attempts(stage: Stage) -> None:
    ref, call_id = await _called(stage, retries=1)
    for attempt in (stage.finish(call_id), stage.get_lease(call_id)):
        with pytest.raises(SupersededError):
            await attempt
    await stage.lease(ref, call_id)
    await stage.finish(call_id, "try 1", kind=REJECTED)
    for attempt in (stage.finish(call_id), stage.get_lease(call_id)):
        with pytest.raises(SupersededError):
            await attempt


async def test_a_call_of_another_cluster_looks_like_an_unknown_one(stage: Stage) -> None:
    ref, call_id = await _called(stage)
    await stage.lease(ref, call_id)
    ours = Stage(stage.store, await stage.store.keys.ensure_cluster("ours"))
    for attempt in (ours.finish(call_id), ours.get_lease(call_id)):
        with pytest.raises(NotFoundError, match=f"no call '{call_id}'"):
            await attempt
    assert await stage.store.results.original(RunRef(ours.cluster_id, ref.run_id), call_id) is None


async def test_a_result_after_the_end_is_refused_and_stored_as_evidence_once(stage: Stage) -> None:
    ref, call_id = await _called(stage)
    await stage.lease(ref, call_id)
    await stage.store.runs.cancel(ref, "enough")
    await stage.store.runs.end_turn(ref, Trigger.CANCEL, "")
    with pytest.raises(SupersededError, match="is cancelled"):
        await stage.finish(call_id, '"late"')
    with pytest.raises(SupersededError, match="has its result"):
        await stage.finish(call_id, '"later still"')
    assert await stage.events(ref, "call.late") == [
        {"callId": call_id, "resultType": "resolution", "size": 6}
    ]
    assert await stage.store.results.original(ref, call_id) == ('"late"', False)
    assert [row.type for row in await stage.store.messages.page(ref, after=0, limit=9)] == [
        "human",
        "agent",
    ], "the model is not shown it"


async def test_a_result_that_temporal_refused_is_withdrawn(stage: Stage) -> None:
    """The activity had timed out and waits to be given to another machine."""
    ref, call_id = await _called(stage, retries=1)
    finished = await stage.lease_and_finish(ref, call_id, '"stale"')
    await stage.store.calls.supersede(finished.call)
    row = await stage.call_row(call_id)
    assert (row["status"], row["result_type"], row["shown"]) == ("pending", None, False)
    await stage.lease(ref, call_id, "m2")
    await stage.finish(call_id, '"fresh"', machine="m2")
    assert await _shown(stage, ref) == [(False, '"fresh"')]
    assert await stage.events(ref, "call.superseded") == [{"callId": call_id, "attempt": 1}]


async def test_a_result_of_a_later_lease_is_not_withdrawn(stage: Stage) -> None:
    ref, call_id = await _called(stage)
    await stage.lease(ref, call_id)
    await stage.lease(ref, call_id)
    finished = await stage.finish(call_id, '"fresh"')
    before = await stage.get_run(ref)
    await stage.store.calls.supersede(replace(finished.call, handouts=1))
    assert await stage.get_run(ref) == before
    assert await _shown(stage, ref) == [(False, '"fresh"')]


async def test_a_result_that_the_model_has_read_is_not_withdrawn(stage: Stage) -> None:
    ref, call_id = await _called(stage)
    finished = await stage.lease_and_finish(ref, call_id, '"read"')
    assert (await stage.think(ref, text_of("the answer"))).status == "done"
    await stage.store.calls.supersede(finished.call)
    assert (await stage.call_row(call_id))["result_type"] == "resolution"
    await stage.send(ref, "and?")
    (_, _, answered, *_) = turns((await stage.begin_step(ref)).entries)
    assert isinstance(answered, UserTurn)
    assert answered.results[0].content == '"read"'
