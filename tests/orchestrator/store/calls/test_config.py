"""A call keeps the configuration that it was made under; the function may change meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.store.calls.outcomes import Completed, Retry
from orchestrator.store.database.json_columns import object_from_json
from orchestrator.workflows.interface import RunRef
from perdure.contract import FunctionConfig, ResultType, RetryPolicy
from tests.support.stage import HANDLER, Stage

REJECTED = ResultType.REJECTION


async def _called(stage: Stage, **config: Any) -> tuple[RunRef, str]:
    await stage.register("query", config=FunctionConfig(**config))
    ref = await stage.run()
    (order,) = await stage.called(ref)
    return ref, order.call_id


async def _fails(stage: Stage, ref: RunRef, call_id: str) -> Completed | Retry:
    await stage.lease(ref, call_id)
    return (await stage.finish(call_id, "no", kind=REJECTED)).attempt_outcome


async def test_the_functions_policy_says_how_long_to_wait(stage: Stage) -> None:
    policy = RetryPolicy(initial_seconds=0.25, coefficient=4.0, maximum_seconds=3.0)
    ref, call_id = await _called(stage, retries=9, retry=policy)
    verdicts = [await _fails(stage, ref, call_id) for _ in range(3)]
    assert verdicts == [Retry("no", 0.25), Retry("no", 1.0), Retry("no", 3.0)]
    assert [data["delay"] for data in await stage.events(ref, "call.retried")] == [0.25, 1.0, 3.0]


async def test_a_call_keeps_the_configuration_it_was_made_under(stage: Stage) -> None:
    policy = RetryPolicy(initial_seconds=7.0)
    ref, call_id = await _called(stage, retries=1, retry=policy, timeout_seconds=5.0)
    await stage.register("query", config=FunctionConfig(retries=0, timeout_seconds=50.0))
    assert (await stage.lease(ref, call_id)).timeout_seconds == 5
    assert (await stage.finish(call_id, "no", kind=REJECTED)).attempt_outcome == Retry("no", 7.0)
    kept = object_from_json((await stage.call_row(call_id))["config"])
    assert kept["retry"] == {"initialSeconds": 7.0, "coefficient": 2.0, "maximumSeconds": 60.0}


async def test_that_stalls_are_retried_is_stored_too(stage: Stage) -> None:
    ref, call_id = await _called(stage, retry_count_on_stall=3)
    await stage.register("query", config=FunctionConfig(retries=3))
    assert isinstance(await _fails(stage, ref, call_id), Completed)  # it raised, it did not stall


@pytest.mark.parametrize("kind", ["function", "handler"])
async def test_both_contexts_go_with_every_lease(stage: Stage, kind: str) -> None:
    await stage.register("query", "announce")
    asker: dict[str, Any] = {"context": {"tenant": "a"}, "auth_context": {"user": "b"}}
    ref = await stage.run(on_status_change=HANDLER, **asker)
    (order,) = await stage.called(ref)
    if kind == "handler":
        order = (await stage.store.deliveries.list_pending(ref, []))[0]
    given = await stage.lease(ref, order.call_id)
    assert given.handler is (kind == "handler")
    assert (given.run_context, given.auth_context) == ({"tenant": "a"}, {"user": "b"})


async def test_of_one_reply_no_more_calls_are_made_than_the_function_allows(stage: Stage) -> None:
    await stage.register("query", config=FunctionConfig(fan_out=2))
    ref = await stage.run()
    orders = await stage.called(ref, *["sales_query"] * 5)
    assert len(orders) == 2
    refused = [data for kind, data in await stage.messages(ref) if kind == "invocation-result"]
    assert ["2 times at most" in data["result"] for data in refused] == [True] * 3
