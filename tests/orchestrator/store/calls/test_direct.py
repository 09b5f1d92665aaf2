"""A direct call is a hidden run that begins, waits and ends with its one call."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator.errors import ConflictError, SupersededError
from orchestrator.store import tables
from orchestrator.store.calls.outcomes import Completed, to_result_content
from orchestrator.store.calls.rows import DIRECT
from orchestrator.workflows.interface import CallOutcome, RunRef, RunState, TimedOutCall
from perdure.contract import CachePolicy, FunctionConfig, FunctionReference, ResultType
from tests.support.stage import Stage, new_run

QUERY = FunctionReference(service="sales", function="query")


async def _create(
    stage: Stage, values: dict[str, Any] | None = None, **changes: Any
) -> tuple[RunRef, str]:
    """A direct call of the function; its run and its id."""
    function = await stage.store.direct_calls.function(stage.cluster_id, QUERY)
    assert function is not None
    changes = {"kind": DIRECT, "prompt": None, "call_summarization": False, **changes}
    new = new_run(stage.cluster_id, **changes)
    call_id = await stage.store.direct_calls.create(new, function, values or {})
    assert call_id is not None
    return RunRef(stage.cluster_id, new.id), call_id


async def _run_state(stage: Stage, ref: RunRef) -> RunState:
    state = await stage.begin(ref)
    assert isinstance(state, RunState)  # no model is ever asked
    return state


async def test_the_run_is_under_way_and_its_call_is_to_be_made(stage: Stage) -> None:
    await stage.register("query", config=FunctionConfig(private=True))
    ref, call_id = await _create(stage, {"a": 1}, context={"user": 7})
    state = await _run_state(stage, ref)
    assert state.status == "running"
    assert [order.call_id for order in state.orders] == [call_id]
    given = await stage.lease(ref, call_id)
    assert (given.input, given.run_context, given.handler) == ({"a": 1}, {"user": 7}, False)
    assert await stage.messages(ref) == []


async def test_a_handler_is_called_as_one(stage: Stage) -> None:
    await stage.register("query", config=FunctionConfig(handler=True))
    ref, call_id = await _create(stage)
    assert (await stage.lease(ref, call_id)).handler


@pytest.mark.parametrize(
    ("kind", "status"), [(ResultType.RESOLUTION, "done"), (ResultType.REJECTION, "failed")]
)
async def test_its_result_ends_the_run_in_the_same_transaction(
    stage: Stage, kind: ResultType, status: str
) -> None:
    await stage.register("query")
    ref, call_id = await _create(stage)
    await stage.lease(ref, call_id)
    finished = await stage.finish(call_id, "x" * 20_000, kind=kind)
    assert finished.attempt_outcome == Completed(
        CallOutcome(call_id)
    )  # long as it is, nobody summarizes it
    assert (await stage.get_run(ref)).status == status
    assert (await _run_state(stage, ref)).status == status
    assert (await stage.messages(ref)) == []


async def test_a_call_that_nobody_takes_in_time_fails_the_run(stage: Stage) -> None:
    await stage.register("query")
    ref, call_id = await _create(stage)
    state = await stage.begin(ref, 1, lost=[TimedOutCall(call_id, "deadline")])
    assert isinstance(state, RunState)
    assert state.status == "failed"
    assert "did not finish in time" in str((await stage.get_run(ref)).failure_reason)


async def test_a_known_result_ends_the_run_at_once(stage: Stage) -> None:
    cache = CachePolicy(key_path="$", ttl_seconds=60.0)
    await stage.register("query", config=FunctionConfig(cache=cache))
    ref, original = await _create(stage)
    await stage.lease_and_finish(ref, original)
    again, call_id = await _create(stage)
    assert (await stage.get_run(again)).status == "done"
    row = await stage.call_row(call_id)
    assert (row["cached_from"], row["handouts"]) == (original, 0)


async def test_a_marked_function_waits_for_a_person(stage: Stage) -> None:
    await stage.register("query", config=FunctionConfig(requires_approval=True))
    ref, call_id = await _create(stage)
    assert (await stage.get_run(ref)).status == "paused"
    assert (await _run_state(stage, ref)).orders == []
    await stage.store.calls.cancel(stage.cluster_id, call_id, "never mind")
    assert (await stage.get_run(ref)).status == "cancelled"


async def test_the_same_idempotency_key_makes_no_second_call(
    stage: Stage, elsewhere: Stage
) -> None:
    await stage.register("query")
    function = await stage.store.direct_calls.function(stage.cluster_id, QUERY)
    assert function is not None
    news = [
        new_run(stage.cluster_id, idempotency_key="k", kind=DIRECT, prompt=None) for _ in range(6)
    ]
    made = await asyncio.gather(
        *(
            place.store.direct_calls.create(new, function, {})
            for place, new in zip([stage, elsewhere] * 3, news, strict=True)
        )
    )
    (call_id,) = [one for one in made if one is not None]
    assert [row["id"] for row in await stage.rows(tables.calls)] == [call_id]
    found = await stage.store.runs.existing(stage.cluster_id, None, "k", "same")
    assert found is not None
    assert await stage.store.direct_calls.of_run(found.key) == call_id


async def test_a_result_that_temporal_refused_counts_all_the_same(stage: Stage) -> None:
    """Its caller may have read it already."""
    await stage.register("query")
    ref, call_id = await _create(stage)
    finished = await stage.lease_and_finish(ref, call_id)
    assert not await stage.store.calls.supersede(finished.call)
    assert (await stage.call_row(call_id))["result_type"] == "resolution"


# -- cancelled -------------------------------------------------------------------------------------


async def _called(stage: Stage) -> tuple[RunRef, str]:
    await stage.register("query")
    ref = await stage.run()
    (order,) = await stage.called(ref)
    return ref, order.call_id


async def test_a_cancelled_call_is_answered_and_the_model_goes_on(stage: Stage) -> None:
    ref, call_id = await _called(stage)
    await stage.lease(ref, call_id)
    await stage.store.calls.cancel(stage.cluster_id, call_id, "too slow")
    seen = await stage.store.calls.read_pending_requests(ref)
    assert (seen.settled, seen.cancel_wanted) == ([CallOutcome(call_id)], False)
    _, data = (await stage.messages(ref))[-1]
    assert (data["result"], data["resultType"]) == ("The call was cancelled: too slow", "rejection")
    assert await stage.events(ref, "call.cancelled") == [{"callId": call_id, "reason": "too slow"}]
    await stage.begin_step(ref)  # it is the model's turn


async def test_the_machine_at_work_is_asked_to_stop_and_its_result_refused(stage: Stage) -> None:
    ref, call_id = await _called(stage)
    await stage.lease(ref, call_id)
    await stage.store.calls.cancel(stage.cluster_id, call_id, None)
    assert not await stage.acknowledge(call_id)
    assert await stage.get_lease(call_id) == (b"", True)
    with pytest.raises(SupersededError):
        await stage.get_lease(call_id, machine="m2")
    with pytest.raises(SupersededError):
        await stage.get_lease(call_id, attempt=2)
    with pytest.raises(SupersededError):
        await stage.finish(call_id)


async def test_a_cancelled_direct_call_cancels_its_run(stage: Stage) -> None:
    await stage.register("query")
    ref, call_id = await _create(stage)
    await stage.store.calls.cancel(stage.cluster_id, call_id, "enough")
    record = await stage.get_run(ref)
    assert (record.status, record.failure_reason) == ("cancelled", "The call was cancelled: enough")
    assert record.wake_wanted > record.wake_read


async def test_a_call_is_cancelled_once_and_not_after_its_result(stage: Stage) -> None:
    _, call_id = await _called(stage)
    await stage.store.calls.cancel(stage.cluster_id, call_id, None)
    with pytest.raises(ConflictError, match="has its result"):
        await stage.store.calls.cancel(stage.cluster_id, call_id, None)


async def test_of_a_cancel_and_a_result_that_race_one_wins(stage: Stage, elsewhere: Stage) -> None:
    for _ in range(5):
        ref, call_id = await _called(stage)
        await stage.lease(ref, call_id)
        ended = await asyncio.gather(
            stage.finish(call_id),
            elsewhere.store.calls.cancel(stage.cluster_id, call_id, None),
            return_exceptions=True,
        )
        assert sum(isinstance(one, ConflictError) for one in ended) == 1
        assert len(await stage.events(ref, "call.finished")) == 1


# -- results as they were given --------------------------------------------------------------------


@pytest.mark.parametrize("result", ["7", "null", "", 7, 0, False, None, [], {"message": "x"}])
async def test_a_result_comes_back_as_what_it_was(stage: Stage, result: Any) -> None:
    await stage.register("query")
    ref, call_id = await _create(stage)
    await stage.lease(ref, call_id)
    content = to_result_content(ResultType.RESOLUTION, result)
    await stage.store.calls.accept_result(
        stage.cluster_id,
        call_id,
        "m1",
        None,
        kind=ResultType.RESOLUTION,
        content=content.text,
        is_text=content.is_text,
    )
    original = await stage.store.call_queries.original(stage.cluster_id, call_id)
    assert (original.content, original.is_text) == content
    assert original.is_text is isinstance(result, str)
