"""Follow-ups: queued in order, read once, and the only way out of a turn that has ended."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import ValidationError
from sqlalchemy import insert

from orchestrator.errors import ConflictError, InvalidRequestError
from orchestrator.llm.messages import UserTurn
from orchestrator.llm.transcript import turns
from orchestrator.rules.lifecycle import Trigger
from orchestrator.store import tables
from orchestrator.store.conversation.messages import MAX_QUEUED
from orchestrator.store.database.json_columns import from_json, object_from_json
from perdure.contract import CreateMessage, MessageType
from tests.support.stage import Stage, calls_for, result_of, text_of


async def test_messages_to_a_busy_run_are_queued_in_order(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run()
    question = await stage.begin_step(ref)
    await stage.send(ref, "one")
    await stage.send(ref, "two")
    state = await stage.record(question, calls_for("sales_query"))
    await stage.send(ref, "three")
    assert (await stage.get_run(ref)).status == "running"
    await stage.lease_and_finish(ref, state.orders[0].call_id)
    asked = turns((await stage.begin_step(ref)).entries)
    assert asked[0] == UserTurn((), ("go",))
    assert isinstance(asked[2], UserTurn)
    assert asked[2].texts == ("one", "two", "three")


async def test_a_message_to_a_run_that_has_not_begun_goes_with_the_first_question(
    stage: Stage,
) -> None:
    ref = await stage.run()
    await stage.send(ref, "and quickly")
    assert turns((await stage.begin_step(ref)).entries) == (UserTurn((), ("go", "and quickly")),)


async def test_a_message_that_arrives_during_the_last_step_keeps_the_run_going(
    stage: Stage,
) -> None:
    ref = await stage.run()
    question = await stage.begin_step(ref)
    await stage.send(ref, "one more thing")
    assert (await stage.record(question, text_of("the answer"))).status == "running"
    assert (await stage.think(ref, text_of("both answers"))).status == "done"
    run = await stage.get_run(ref)
    assert (run.result, run.turn) == ('"both answers"', 1)


async def test_a_result_given_while_a_message_was_unread_is_not_accepted(stage: Stage) -> None:
    ref = await stage.run(result_schema='{"type":"integer"}')
    question = await stage.begin_step(ref)
    await stage.send(ref, "one more thing")
    await stage.record(question, result_of(1))
    last = turns((await stage.begin_step(ref)).entries)[-1]
    assert isinstance(last, UserTurn)
    (answer,) = last.results
    assert answer.is_error
    assert "new message" in answer.content
    assert last.texts == ("one more thing",)
    await stage.think(ref, result_of(2))
    assert (await stage.get_run(ref)).result == "2"


@pytest.mark.parametrize("end", ["done", "failed"])
async def test_a_follow_up_begins_the_next_turn_in_the_same_transaction(
    stage: Stage, end: str
) -> None:
    ref = await stage.run()
    if end == "done":
        await stage.think(ref, text_of("the answer"))
    else:
        await stage.store.runs.end_turn(ref, Trigger.FAIL, "no model")
    message = await stage.send(ref, "again")
    run = await stage.get_run(ref)
    assert (run.status, run.turn, message.turn) == ("pending", 2, 2)
    assert (run.result, run.failure_reason, run.finished_at) == (None, None, None)
    assert run.wake_wanted > run.wake_read
    assert (await stage.think(ref, text_of("more"))).status == "done"


async def test_a_new_turn_has_corrections_of_its_own(stage: Stage) -> None:
    ref = await stage.run(result_schema='{"type":"integer"}')
    for _ in range(4):
        await stage.think(ref, result_of("wrong"))
    assert (await stage.get_run(ref)).status == "done"
    await stage.send(ref, "try again")
    assert (await stage.think(ref, result_of("wrong"))).status == "running"
    assert (await stage.get_run(ref)).corrections == 1


async def test_a_cancelled_run_takes_no_message(stage: Stage) -> None:
    ref = await stage.run()
    await stage.store.runs.cancel(ref, "enough")
    with pytest.raises(ConflictError) as caught:
        await stage.send(ref, "please")
    assert caught.value.code == "run_is_cancelled"
    assert (await stage.get_run(ref)).status == "cancelled"


@pytest.mark.parametrize("busy", [True, False])
async def test_a_run_that_is_not_interactive_takes_no_message(stage: Stage, busy: bool) -> None:
    ref = await (stage.run(interactive=False) if busy else stage.finished(interactive=False))
    before = await stage.get_run(ref)
    with pytest.raises(ConflictError) as caught:
        await stage.send(ref, "please")
    assert caught.value.code == "run_is_not_interactive"
    assert await stage.get_run(ref) == before


async def test_a_message_to_a_paused_run_waits_with_it(stage: Stage) -> None:
    ref = await stage.run()
    await stage.begin_step(ref)
    await stage.store.steps.abort_turn(ref, 1, Trigger.PAUSE, "no money", attempt=1)
    await stage.send(ref, "hello?")
    assert (await stage.get_run(ref)).status == "paused"
    await stage.store.runs.resume(ref)
    assert turns((await stage.begin_step(ref)).entries) == (UserTurn((), ("go", "hello?")),)


# -- the same message twice ------------------------------------------------------------------------


async def test_the_same_message_again_is_the_same_message(stage: Stage) -> None:
    ref = await stage.finished()
    add = stage.store.messages.add
    first, is_new = await add(ref, "chosen", MessageType.HUMAN, "again")
    await stage.think(ref, text_of("more"))
    again, is_new_again = await add(ref, "chosen", MessageType.HUMAN, "again")
    assert (is_new, is_new_again, again) == (True, False, first)
    assert (await stage.get_run(ref)).turn == 2, "a repeat began another turn"


async def test_another_text_under_the_same_id_is_refused(stage: Stage) -> None:
    ref = await stage.run()
    await stage.send(ref, "one", "chosen")
    with pytest.raises(InvalidRequestError) as caught:
        await stage.send(ref, "two", "chosen")
    assert (caught.value.code, caught.value.pointer) == ("idempotency_mismatch", "/id")


async def test_a_message_sent_many_times_at_once_is_written_once(
    stage: Stage, elsewhere: Stage
) -> None:
    ref = await stage.finished()
    made = await asyncio.gather(
        *(
            place.store.messages.add(ref, "chosen", MessageType.HUMAN, "again")
            for place in [stage, elsewhere] * 4
        )
    )
    assert sum(is_new for _, is_new in made) == 1
    assert len({record.key for record, _ in made}) == 1
    run = await stage.get_run(ref)
    assert (run.turn, run.status) == (2, "pending")


async def test_a_follow_up_and_the_end_of_the_turn_that_race_lose_nothing(
    stage: Stage, elsewhere: Stage
) -> None:
    for _ in range(6):
        ref = await stage.run()
        question = await stage.begin_step(ref)
        state, _ = await asyncio.gather(
            stage.record(question, text_of("the answer")), elsewhere.send(ref, "one more thing")
        )
        run = await stage.get_run(ref)
        assert (state.status, run.status, run.turn) in {
            ("running", "running", 1),
            ("done", "pending", 2),
        }
        last = turns((await stage.begin_step(ref)).entries)[-1]
        assert last == UserTurn((), ("one more thing",))


# -- bounds and odd characters ---------------------------------------------------------------------


async def test_no_more_messages_are_queued_than_the_run_can_bear(stage: Stage) -> None:
    ref = await stage.run()
    key = (await stage.get_run(ref)).key
    row = {"run_key": key, "turn": 1, "type": "human", "data": '{"message":"x"}', "created_at": 0}
    async with stage.store.database.write() as write:
        rows = [{**row, "id": f"queued-{n}"} for n in range(MAX_QUEUED - 1)]
        await write.execute(insert(tables.messages), rows)
    with pytest.raises(ConflictError) as caught:
        await stage.send(ref, "one too many")
    assert caught.value.code == "too_many_queued"
    await stage.record(await stage.begin_step(ref), text_of("I read them all"))
    await stage.send(ref, "now there is room")


async def test_messages_are_listed_oldest_first_in_pages(stage: Stage) -> None:
    ref = await stage.run()
    for text in ("one", "two", "three"):
        await stage.send(ref, text)
    page = await stage.store.messages.page(ref, after=0, limit=3)
    rest = await stage.store.messages.page(ref, after=page[-1].key, limit=3)
    texts = [object_from_json(message.data)["message"] for message in [*page, *rest]]
    assert texts == ["go", "one", "two", "three"]
    assert await stage.store.messages.page(ref, after=rest[-1].key, limit=3) == []


async def test_what_a_model_says_is_stored_whatever_characters_it_has(stage: Stage) -> None:
    ref = await stage.run()
    said = "NUL \0, half a pair \ud800, \u2028 and \U0001f600"
    await stage.think(ref, text_of(said))
    _, (_, data) = await stage.messages(ref)
    assert data["message"] == said
    assert from_json((await stage.get_run(ref)).result or "") == said


async def test_a_callers_id_can_never_be_the_one_of_a_result(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run()
    (order,) = await stage.called(ref)
    await stage.lease_and_finish(ref, order.call_id)
    (result,) = await stage.rows(tables.messages, tables.messages.c.type == "invocation-result")
    with pytest.raises(ValidationError):
        CreateMessage(message="mine", id=result["id"])
