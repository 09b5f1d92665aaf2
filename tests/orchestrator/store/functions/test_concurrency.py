"""A function's limit of calls at work holds, whoever hands them out."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.rules.lifecycle import Trigger
from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from orchestrator.store.calls.outcomes import AtCapacity, Leased
from orchestrator.workflows.interface import CallRef, RunRef
from perdure.contract import FunctionConfig, ResultType
from tests.support.stage import Stage

Call = tuple[RunRef, str]


async def _calls(stage: Stage, count: int, *, limit: int | None = 1) -> list[Call]:
    """So many calls of one function, each of a run of its own."""
    config = FunctionConfig(concurrency=limit, retries=5)
    await stage.register("query", config=config)
    calls: list[Call] = []
    for _ in range(count):
        ref = await stage.run()
        (order,) = await stage.called(ref)
        calls.append((ref, order.call_id))
    return calls


async def _try(stage: Stage, call: Call, machine: str = "m1") -> Leased | AtCapacity:
    given = await stage.store.calls.lease(CallRef(*call), machine, b"token")
    assert isinstance(given, Leased | AtCapacity)
    return given


async def test_a_call_over_the_limit_waits_and_nothing_is_written(stage: Stage) -> None:
    first, second = await _calls(stage, 2)
    given = await _try(stage, first)
    assert isinstance(given, Leased)
    assert given.limit == 1
    assert await _try(stage, second) == AtCapacity(1)
    row = await stage.call_row(second[1])
    assert (row["status"], row["handouts"], row["attempts"]) == ("pending", 0, 0)
    assert await stage.store.calls.count_running(stage.cluster_id, "sales", "query") == 1


@pytest.mark.parametrize("kind", [ResultType.RESOLUTION, ResultType.REJECTION])
async def test_the_end_of_one_makes_room_for_the_next(stage: Stage, kind: ResultType) -> None:
    first, second = await _calls(stage, 2)
    await _try(stage, first)
    await stage.finish(first[1], kind=kind)  # a rejection is to be tried again, and waits for that
    assert isinstance(await _try(stage, second), Leased)


async def test_without_a_limit_nobody_waits(stage: Stage) -> None:
    calls = await _calls(stage, 3, limit=None)
    given = [await _try(stage, call) for call in calls]
    assert [isinstance(one, Leased) and one.limit is None for one in given] == [True] * 3


async def test_a_call_that_was_lost_does_not_wait_for_itself(stage: Stage) -> None:
    (call,) = await _calls(stage, 1)
    await _try(stage, call)
    assert isinstance(await _try(stage, call, "m2"), Leased)


async def test_calls_of_runs_that_ended_keep_nobody_waiting(stage: Stage) -> None:
    first, second = await _calls(stage, 2)
    await _try(stage, first)
    await stage.store.runs.cancel(first[0], "enough")
    await stage.store.runs.end_turn(first[0], Trigger.CANCEL, "")
    assert isinstance(await _try(stage, second), Leased)


async def test_a_call_long_past_its_timeout_keeps_nobody_waiting(stage: Stage) -> None:
    first, second = await _calls(stage, 2)
    await _try(stage, first)
    calls = tables.calls
    await stage.alter(calls, calls.c.id == first[1], handed_out_at=now_ms() - 331_000)
    assert isinstance(await _try(stage, second), Leased)


async def test_the_same_function_of_another_cluster_has_its_own_limit(stage: Stage) -> None:
    theirs = Stage(stage.store, await stage.store.keys.ensure_cluster("theirs"))
    (first,), (second,) = await _calls(stage, 1), await _calls(theirs, 1)
    await _try(stage, first)
    assert isinstance(await _try(theirs, second), Leased)


@pytest.mark.parametrize("limit", [1, 3])
async def test_two_processes_that_race_lease_no_more_than_the_limit(
    stage: Stage, elsewhere: Stage, limit: int
) -> None:
    calls = await _calls(stage, 8, limit=limit)
    places = [stage, elsewhere] * 4
    given = await asyncio.gather(
        *(_try(place, call) for place, call in zip(places, calls, strict=True))
    )
    assert sum(isinstance(one, Leased) for one in given) == limit
    assert await stage.store.calls.count_running(stage.cluster_id, "sales", "query") == limit


async def test_a_registration_meanwhile_neither_blocks_nor_breaks_it(
    stage: Stage, elsewhere: Stage
) -> None:
    calls = await _calls(stage, 6, limit=2)
    config = FunctionConfig(concurrency=2, retries=5)
    given = await asyncio.gather(
        *(_try(stage, call) for call in calls),
        *(elsewhere.register("query", machine=f"m{n}", config=config) for n in range(4)),
    )
    assert sum(isinstance(one, Leased) for one in given) == 2
