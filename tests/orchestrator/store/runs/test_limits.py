"""Budgets: counted with every reply, a pause before what they forbid, and a way on."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.errors import ConflictError, InvalidRequestError
from orchestrator.store import tables
from orchestrator.store.conversation.step_input import StepInput
from orchestrator.store.database.json_columns import object_from_json
from orchestrator.workflows.interface import RunRef, RunState
from perdure.contract import Budget
from tests.support.stage import USAGE, Stage, calls_for, plan_of, text_of

_TOKENS = 20
"""Of one reply of the stage's model."""


async def _stopped(stage: Stage, ref: RunRef) -> str:
    """The reason of a run that paused for its budget."""
    run = await stage.get_run(ref)
    assert (run.status, run.paused_for) == ("paused", "budget")
    return run.paused_reason or ""


async def _resumed(stage: Stage, ref: RunRef, **limits: float | None) -> None:
    await stage.store.runs.resume(ref, Budget.model_validate(limits))


async def test_a_run_pauses_before_the_step_that_its_tokens_forbid(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run(budget=Budget(tokens=_TOKENS + 1))
    (order,) = await stage.called(ref)
    await stage.lease_and_finish(ref, order.call_id)
    (second,) = await stage.called(ref)  # 20 of 21 were used
    await stage.lease_and_finish(ref, second.call_id)

    state = await stage.begin(ref, 3)

    assert state == RunState("paused", 2)
    assert await _stopped(stage, ref) == "The budget of 21 tokens is used up (40)."
    await _resumed(stage, ref, tokens=41)
    assert (await stage.think(ref, text_of("done"))).status == "done"
    assert [event["budget"] for event in await stage.events(ref, "run.budget_changed")] == [
        {"tokens": 41}
    ]


async def test_the_fast_path_into_a_step_knows_the_budget_too(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run(budget=Budget(steps=1))
    (order,) = await stage.called(ref)
    await stage.lease_and_finish(ref, order.call_id)
    await stage.begin(ref)  # reads the requests
    await _resumed(stage, ref, steps=2)
    assert isinstance(await stage.begin(ref, 2), StepInput)
    assert isinstance(await stage.begin(ref, 2), StepInput)
    await stage.alter(tables.runs, budget='{"steps":1}')

    assert isinstance(await stage.begin(ref, 2), RunState)
    assert await _stopped(stage, ref) == "The budget of 1 model steps is used up (1)."


async def test_calls_beyond_the_budget_wait_before_any_is_leased(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run(budget=Budget(calls=2))
    first = await stage.called(ref, "sales_query")
    await stage.lease_and_finish(ref, first[0].call_id)

    state = await stage.think(ref, calls_for("sales_query", "sales_query"))

    assert state == RunState("paused", 2)
    assert await _stopped(stage, ref) == "The budget of 2 calls is used up (3 requested)."
    assert (await stage.get_run(ref)).function_calls == 3
    with pytest.raises(ConflictError):
        await stage.store.runs.resume(ref)
    await _resumed(stage, ref, calls=3)
    again = await stage.begin(ref)
    assert isinstance(again, RunState)
    assert len(again.orders) == 2


async def test_a_last_answer_beyond_the_budget_is_still_the_answer(stage: Stage) -> None:
    ref = await stage.run(budget=Budget(tokens=1))
    assert (await stage.think(ref, text_of("done"))).status == "done"
    await stage.send(ref, "and now?")
    assert (await stage.begin(ref)) == RunState("paused", 1)
    assert [event["status"] for event in await stage.events(ref, "run.status")] == [
        "running",
        "done",
        "pending",
        "running",
        "paused",
    ]


async def test_money_is_counted_exactly_and_pauses_the_run(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run(budget=Budget(usd=0.000_003))
    for cost, step in ((1, 1), (2, 2)):
        question = await stage.begin_step(ref)
        state, _ = await stage.store.steps.record(
            question,
            plan_of(question, calls_for("sales_query")),
            seen=question.entries[-1].key,
            attempt=1,
            duration_ms=1,
            cost_micros=cost,
        )
        assert state.step == step
        await stage.lease_and_finish(ref, state.orders[0].call_id)

    assert isinstance(await stage.begin(ref), RunState)
    assert await _stopped(stage, ref) == "The budget of $0.000003 is used up ($0.000003)."
    assert [row["cost_micros"] for row in await stage.rows(tables.steps)] == [1, 2]
    assert (await stage.get_run(ref)).cost_micros == 3


@pytest.mark.parametrize(
    ("limits", "pointer"), [({"tokens": 20}, "/budget/tokens"), ({"tokens": 1}, "/budget/tokens")]
)
async def test_more_must_be_more_than_was_used(
    stage: Stage, limits: dict[str, float], pointer: str
) -> None:
    ref = await _used_up(stage)
    with pytest.raises(InvalidRequestError) as caught:
        await _resumed(stage, ref, **limits)
    assert (caught.value.code, caught.value.pointer) == ("budget_too_small", pointer)
    assert object_from_json((await stage.get_run(ref)).budget or "") == {"tokens": _TOKENS}


async def _used_up(stage: Stage) -> RunRef:
    """A run that paused because its tokens are used up."""
    await stage.register("query")
    ref = await stage.run(budget=Budget(tokens=_TOKENS))
    (order,) = await stage.called(ref)
    await stage.lease_and_finish(ref, order.call_id)
    assert isinstance(await stage.begin(ref), RunState)
    return ref


async def test_without_more_it_stays_paused_and_says_which_limit(stage: Stage) -> None:
    ref = await _used_up(stage)
    for budget in (None, Budget(steps=100)):
        with pytest.raises(ConflictError) as caught:
            await stage.store.runs.resume(ref, budget)
        assert caught.value.code == "budget_exhausted"
        assert "budget.tokens" in caught.value.detail
    assert (await stage.get_run(ref)).status == "paused"


async def test_a_limit_that_is_lifted_stops_nothing(stage: Stage) -> None:
    ref = await _used_up(stage)
    await _resumed(stage, ref, tokens=None)
    assert (await stage.think(ref, text_of("done"))).status == "done"


async def test_of_two_who_resume_one_does(stage: Stage, elsewhere: Stage) -> None:
    ref = await _used_up(stage)
    outcomes = await asyncio.gather(
        _resumed(stage, ref, tokens=50),
        _resumed(elsewhere, ref, tokens=60),
        return_exceptions=True,
    )
    refused = [one for one in outcomes if one is not None]
    assert len(refused) == 1
    assert isinstance(refused[0], ConflictError)
    assert len(await stage.events(ref, "run.budget_changed")) == 1


async def test_a_cancel_goes_before_the_budget(stage: Stage) -> None:
    ref = await _used_up(stage)
    await stage.store.runs.cancel(ref, "enough")
    assert (await stage.get_run(ref)).status == "cancelled"
    with pytest.raises(ConflictError, match="not paused"):
        await _resumed(stage, ref, tokens=100)


def test_the_stage_counts_as_these_tests_do() -> None:
    usage = USAGE
    total = usage.input_tokens + usage.output_tokens
    assert total + usage.cache_read_tokens + usage.cache_write_tokens == _TOKENS
