"""What a reply means for its run: answers, corrections, the end; whatever a model puts in it."""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from orchestrator.llm.messages import ModelResponse, StopReason, ToolCall, UserTurn
from orchestrator.llm.prompts import READ_TOOL, RESULT_TOOL
from orchestrator.llm.transcript import turns
from orchestrator.rules import agent_loop as agent
from orchestrator.store import tables
from orchestrator.store.conversation.step_input import StepInput
from orchestrator.store.database.json_columns import from_json, object_from_json
from orchestrator.workflows.interface import RunRef, RunState, TimedOutCall
from perdure.contract import FunctionReference
from tests.support.stage import HANDLER, WHOLE_NUMBER, Stage, calls_for, result_of, text_of


async def test_calls_that_timed_out_in_temporal_are_answered_with_a_failure(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run()
    kept, lost = await stage.called(ref, "sales_query", "sales_query")
    await stage.lease_and_finish(ref, kept.call_id)
    given_up = [TimedOutCall(lost.call_id, "deadline"), TimedOutCall(kept.call_id, "deadline")]
    question = await stage.begin(ref, 2, lost=given_up)
    assert isinstance(question, StepInput)
    last = turns(question.entries)[-1]
    assert isinstance(last, UserTurn)
    assert [(r.is_error, r.content) for r in last.results] == [
        (False, '"ok"'),
        (True, "The call did not finish in time: deadline"),
    ]
    again = await stage.begin(ref, 2, lost=given_up, attempt=2)
    assert isinstance(again, StepInput)
    assert again.entries == question.entries


async def test_a_lost_call_of_another_run_is_left_alone(stage: Stage) -> None:
    await stage.register("query")
    ref, other = await stage.run(), await stage.run()
    (order,) = await stage.called(other)
    await stage.begin(ref, 0, lost=[TimedOutCall(order.call_id, "deadline")])
    assert (await stage.call_row(order.call_id))["result_type"] is None


async def test_a_wrong_result_goes_back_with_its_errors_and_is_abandoned_at_last(
    stage: Stage,
) -> None:
    ref = await stage.run(result_schema=WHOLE_NUMBER)
    for number in range(agent.MAX_CORRECTIONS):
        state = await stage.think(ref, result_of("seven"))
        assert state == RunState("running", number + 1)
    assert await stage.think(ref, result_of("seven")) == RunState("done", 4)
    run = await stage.get_run(ref)
    assert run.result is None
    assert run.result_null_reason is not None
    assert "integer" in run.result_null_reason
    answers = [data for kind, data in await stage.messages(ref) if kind == "invocation-result"]
    assert [answer["resultType"] for answer in answers] == ["rejection"] * 3 + ["resolution"]
    assert "integer" in answers[0]["result"]
    assert len(await stage.events(ref, "reply.corrected")) == 3


async def test_a_wrong_text_is_answered_with_a_message(stage: Stage) -> None:
    ref = await stage.run(result_schema=WHOLE_NUMBER)
    await stage.think(ref, text_of("seven"))
    last = turns((await stage.begin_step(ref)).entries)[-1]
    assert isinstance(last, UserTurn)
    assert RESULT_TOOL in last.texts[0]
    await stage.think(ref, text_of("7"))
    assert (await stage.get_run(ref)).result == "7"


async def test_a_result_beside_calls_waits_for_their_results(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run()
    question = await stage.begin_step(ref)
    calls = calls_for("sales_query").calls + result_of(7).calls
    state = await stage.record(question, ModelResponse("", StopReason.CALLS, calls))
    assert len(state.orders) == 1
    await stage.lease_and_finish(ref, state.orders[0].call_id)
    last = turns((await stage.begin_step(ref)).entries)[-1]
    assert isinstance(last, UserTurn)
    assert [result.is_error for result in last.results] == [False, True]
    assert "Not taken" in last.results[1].content


async def test_every_call_of_a_reply_is_answered_before_the_model_speaks_again(
    stage: Stage,
) -> None:
    await stage.register("query")
    ref = await stage.run(result_schema=WHOLE_NUMBER)
    question = await stage.begin_step(ref)
    asked = [
        *calls_for("sales_query", "no_such_function").calls,
        *result_of("wrong").calls,
        *result_of(2).calls,
        ToolCall("r", READ_TOOL, {"callId": "nothing"}),
        ToolCall("bad", READ_TOOL, {}),
    ]
    state = await stage.record(question, ModelResponse("", StopReason.CALLS, tuple(asked)))
    await stage.lease_and_finish(ref, state.orders[0].call_id)
    last = turns((await stage.begin_step(ref)).entries)[-1]
    assert isinstance(last, UserTurn)
    assert [result.id for result in last.results] == [call.id for call in asked]
    assert [result.is_error for result in last.results] == [False, *[True] * 5]


async def test_a_reply_that_was_cut_off_is_answered_call_by_call(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run()
    question = await stage.begin_step(ref)
    reply = calls_for("sales_query", "sales_query")
    state = await stage.record(question, ModelResponse("", StopReason.LENGTH, reply.calls))
    assert state == RunState("running", 1)
    last = turns((await stage.begin_step(ref)).entries)[-1]
    assert isinstance(last, UserTurn)
    assert [result.is_error for result in last.results] == [True, True]
    assert last.texts == ()


@pytest.mark.parametrize("stop", [StopReason.REFUSAL, StopReason.CONTEXT])
async def test_a_refusal_fails_the_turn_whatever_it_called(stage: Stage, stop: StopReason) -> None:
    await stage.register("query")
    ref = await stage.run()
    question = await stage.begin_step(ref)
    state = await stage.record(question, ModelResponse("", stop, calls_for("sales_query").calls))
    assert (state.status, state.orders) == ("failed", [])
    await stage.send(ref, "go on")
    assert isinstance(turns((await stage.begin_step(ref)).entries)[-1], UserTurn)


@pytest.mark.parametrize("text", ["NaN", "[1e999]", '{"a":-Infinity}'])
async def test_a_result_that_is_no_json_fails_no_run(stage: Stage, text: str) -> None:
    ref = await stage.run(result_schema="true")
    assert (await stage.think(ref, text_of(text))).status == "running"


async def test_a_number_that_json_does_not_have_is_stored_as_null(stage: Stage) -> None:
    """A provider's own parser may let it pass."""
    ref = await stage.run(on_status_change=HANDLER)
    await stage.think(ref, result_of([float("inf"), 1.5]))
    assert (await stage.get_run(ref)).result == "[null,1.5]"


async def test_odd_characters_in_a_result_reach_the_handler(stage: Stage) -> None:
    ref = await stage.run(on_status_change=HANDLER)
    result = {"value": "NUL \0, half \ud800"}
    await stage.think(ref, result_of({**result}))
    assert from_json((await stage.get_run(ref)).result or "") == result
    call = (await stage.rows(tables.calls))[-1]
    assert object_from_json(call["input"])["result"] == result


async def test_only_what_is_attached_and_not_private_is_offered_in_a_stable_order(
    stage: Stage,
) -> None:
    await stage.register("zebra", "query")
    await stage.register("apple", service="fruit")
    names = [f.tool.name for f in (await stage.begin_step(await stage.run())).tools.functions]
    assert names == ["fruit_apple", "sales_query", "sales_zebra"]
    attached = [FunctionReference(service="sales", function=name) for name in ("zebra", "gone")]
    ref = await stage.run(attached_functions=attached)
    assert [f.tool.name for f in (await stage.begin_step(ref)).tools.functions] == ["sales_zebra"]


async def test_a_turn_without_an_end_fails_and_a_new_turn_counts_from_one(stage: Stage) -> None:
    ref = await stage.run()
    runs = tables.runs
    await stage.begin_step(ref)
    await stage.alter(runs, runs.c.id == ref.run_id, step=agent.MAX_STEPS_PER_TURN - 1)
    assert (await stage.think(ref, ModelResponse("so far", StopReason.PAUSE))).status == "running"
    await _fill_turn(stage, ref)
    assert (await stage.think(ref, ModelResponse("so far", StopReason.PAUSE))).status == "failed"
    await stage.send(ref, "again")
    assert (await stage.think(ref, ModelResponse("so far", StopReason.PAUSE))).status == "running"


async def _fill_turn(stage: Stage, ref: RunRef) -> None:
    """Write the steps that this turn would have taken before its last one."""
    (last,) = await stage.rows(tables.steps)
    rows = [{**last, "step": number} for number in range(1, last["step"])]
    async with stage.store.database.write() as write:
        await write.execute(insert(tables.steps), rows)
