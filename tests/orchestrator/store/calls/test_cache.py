"""A result is used again for the same call by the same asker, while it is fresh."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.llm.messages import ModelResponse, StopReason, ToolCall, UserTurn
from orchestrator.llm.transcript import turns
from orchestrator.store import tables
from orchestrator.workflows.interface import RunRef, RunState
from perdure.contract import CachePolicy, FunctionConfig, ResultType
from tests.support.stage import USAGE, Stage

CACHE = CachePolicy(key_path="$.id", ttl_seconds=60.0)
CONTENT = '{"total":7}'


async def _registered(stage: Stage, *, cache: CachePolicy | None = CACHE, **config: Any) -> None:
    await stage.register("query", config=FunctionConfig(cache=cache, **config))


def _call_function(**values: Any) -> ModelResponse:
    return ModelResponse(
        "", StopReason.CALLS, (ToolCall("tool", "sales_query", values),), usage=USAGE
    )


async def _called(stage: Stage, ref: RunRef, **values: Any) -> RunState:
    return await stage.think(ref, _call_function(**(values or {"id": 1})))


async def _filled(stage: Stage, content: str = CONTENT, **changes: Any) -> str:
    """A call that was made and answered; its id."""
    ref = await stage.run(**changes)
    (order,) = (await _called(stage, ref)).orders
    await stage.lease_and_finish(ref, order.call_id, content)
    return order.call_id


async def _is_made(stage: Stage, **changes: Any) -> bool:
    """Whether the same call of another run is made, not answered from the cache."""
    return bool((await _called(stage, await stage.run(**changes))).orders)


async def test_a_hit_is_a_call_with_its_result_and_nobody_leases_it(stage: Stage) -> None:
    await _registered(stage)
    original = await _filled(stage)
    ref = await stage.run()
    state = await _called(stage, ref, id=1, page=2)
    assert (state.status, state.orders, state.oversized) == ("running", [], [])
    (row,) = await stage.rows(tables.calls, tables.calls.c.cached_from == original)
    assert (row["status"], row["result_type"], row["handouts"]) == ("success", "resolution", 0)
    assert row["result_size"] == len(CONTENT)
    assert await stage.events(ref, "call.cached") == [
        {"callId": row["id"], "service": "sales", "function": "query", "cachedFrom": original}
    ]
    last = turns((await stage.begin_step(ref)).entries)[-1]
    assert isinstance(last, UserTurn)
    assert [result.content for result in last.results] == [CONTENT]


@pytest.mark.parametrize(
    "asker",
    [
        {"context": {"tenant": "b"}},
        {"auth_context": {"user": "b"}},
        {"context": {"tenant": "a"}, "auth_context": {"user": "b"}},
    ],
    ids=["context", "auth context", "both"],
)
async def test_whoever_asks_as_somebody_else_gets_no_other_ones_result(
    stage: Stage, asker: dict[str, Any]
) -> None:
    await _registered(stage)
    await _filled(stage, context={"tenant": "a"}, auth_context={"user": "a"})
    assert await _is_made(stage, **asker)
    assert await _is_made(stage)
    assert not await _is_made(stage, context={"tenant": "a"}, auth_context={"user": "a"})


async def test_another_value_at_the_key_path_is_another_call(stage: Stage) -> None:
    await _registered(stage)
    await _filled(stage)
    assert (await _called(stage, await stage.run(), id=2)).orders


async def test_without_a_value_at_the_key_path_nothing_is_used_again(stage: Stage) -> None:
    await _registered(stage)
    for _ in range(2):
        ref = await stage.run()
        (order,) = (await _called(stage, ref, page=1)).orders
        await stage.lease_and_finish(ref, order.call_id)


async def test_a_result_is_used_until_its_time_is_over_and_a_hit_does_not_renew_it(
    stage: Stage,
) -> None:
    await _registered(stage)
    original = await _filled(stage)
    assert not await _is_made(stage)
    (row,) = await stage.rows(tables.calls, tables.calls.c.id == original)
    calls = tables.calls
    await stage.alter(calls, calls.c.id == original, finished_at=row["finished_at"] - 61_000)
    assert await _is_made(stage)


async def test_a_failure_is_not_used_again(stage: Stage) -> None:
    await _registered(stage)
    ref = await stage.run()
    (order,) = (await _called(stage, ref)).orders
    await stage.lease(ref, order.call_id)
    await stage.finish(order.call_id, "no", kind=ResultType.REJECTION)
    assert await _is_made(stage)


@pytest.mark.parametrize("content", ["null", "false", "0", '""', "[]"])
async def test_a_falsy_result_is_a_result_to_use_again(stage: Stage, content: str) -> None:
    await _registered(stage)
    await _filled(stage, content)
    assert not await _is_made(stage)


async def test_test_runs_neither_fill_nor_use_the_cache(stage: Stage) -> None:
    await _registered(stage)
    await _filled(stage, test=True)
    assert await _is_made(stage)
    mocked = await _called(stage, await stage.run(test=True, mocks={"sales_query": 1}))
    assert mocked.orders == []
    assert await _is_made(stage)
    await _filled(stage)
    assert await _is_made(stage, test=True)


async def test_what_a_person_must_approve_is_made_each_time(stage: Stage) -> None:
    await _registered(stage)
    original = await _filled(stage)
    await stage.alter(tables.calls, tables.calls.c.id == original, approved=True)
    assert await _is_made(stage)
    await _registered(stage, requires_approval=True)
    await _called(stage, await stage.run())
    assert not await stage.rows(tables.calls, tables.calls.c.cached_from.is_not(None))


async def test_a_function_without_a_cache_is_called_each_time(stage: Stage) -> None:
    await _registered(stage, cache=None)
    await _filled(stage)
    assert await _is_made(stage)


async def test_another_clusters_results_are_not_used(stage: Stage) -> None:
    theirs = Stage(stage.store, await stage.store.keys.ensure_cluster("theirs"))
    await _registered(stage)
    await _registered(theirs)
    await _filled(stage)
    assert await _is_made(theirs)
    assert not await _is_made(stage)


async def test_a_long_result_is_summarized_for_each_run_that_uses_it(stage: Stage) -> None:
    await _registered(stage)
    await _filled(stage, "x" * 10_001)
    state = await _called(stage, await stage.run())
    assert (state.orders, len(state.oversized)) == ([], 1)
