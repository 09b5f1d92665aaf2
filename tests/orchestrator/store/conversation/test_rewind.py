"""Going back in a conversation: what is replaced, what stays, and who loses when an edit comes in between."""

from __future__ import annotations

import pytest

from orchestrator.errors import ConflictError, NotFoundError, SupersededError
from orchestrator.llm.messages import AssistantTurn, UserTurn
from orchestrator.rules.lifecycle import Trigger
from orchestrator.store.database.json_columns import object_from_json
from orchestrator.workflows.interface import RunRef
from perdure.contract import MessageType
from tests.orchestrator.store.conversation.conversations import first_id, prompt_turns, rows_of
from tests.support.stage import Stage, calls_for, result_of, text_of

# -- what a run becomes ----------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["done", "failed"])
async def test_an_edit_of_a_run_that_has_ended_begins_its_next_turn(stage: Stage, end: str) -> None:
    ref = await stage.run()
    if end == "done":
        await stage.think(ref, text_of("the answer"))
    else:
        await stage.store.runs.end_turn(ref, Trigger.FAIL, "no model")
    before = await stage.get_run(ref)
    edited, is_new = await stage.store.rewind.edit(ref, await first_id(stage, ref), "go slowly")
    run = await stage.get_run(ref)
    assert is_new
    assert (run.status, run.turn, run.rewinds, edited.turn) == ("pending", 2, 1, 2)
    assert (run.result, run.failure_reason, run.finished_at) == (None, None, None)
    assert run.wake_wanted == before.wake_wanted + 1
    assert await prompt_turns(stage, ref) == (UserTurn((), ("go slowly",)),)
    assert (await stage.think(ref, text_of("slowly, then"))).status == "done"
    assert (await stage.get_run(ref)).result == '"slowly, then"'


async def test_what_an_edit_replaces_is_stored_and_marked(stage: Stage) -> None:
    ref = await stage.finished()
    message_id = await first_id(stage, ref)
    await stage.store.rewind.edit(ref, message_id, "go slowly")
    kept = [
        object_from_json(row.data)["message"] for row in await rows_of(stage, ref, replaced=True)
    ]
    current = await rows_of(stage, ref, replaced=False)
    assert kept == ["go", "the answer"]
    assert {row.replaced_by for row in await rows_of(stage, ref, replaced=True)} == {message_id}
    assert [(row.id, object_from_json(row.data)) for row in current] == [
        (message_id, {"message": "go slowly"})
    ]
    assert len({row.id for row in await rows_of(stage, ref, replaced=None)}) == 3
    (event,) = await stage.events(ref, "message.edited")
    assert event == {"messageId": message_id, "replaced": 1, "turn": 2}
    assert (await stage.get_run(ref)).model_calls == 1


async def test_an_edit_before_the_run_has_begun_changes_only_the_text(stage: Stage) -> None:
    ref = await stage.run()
    await stage.store.rewind.edit(ref, await first_id(stage, ref), "go slowly")
    run = await stage.get_run(ref)
    assert (run.status, run.turn, run.transition) == ("pending", 1, 0)
    assert await prompt_turns(stage, ref) == (UserTurn((), ("go slowly",)),)


async def test_an_edit_in_the_middle_goes_back_to_it_and_no_further(stage: Stage) -> None:
    ref = await stage.finished()
    message = await stage.send(ref, "and then?")
    await stage.think(ref, text_of("that"))
    await stage.send(ref, "and after that?")
    await stage.think(ref, text_of("nothing"))
    await stage.store.rewind.edit(ref, message.id, "and before?")
    first, answer, last = await prompt_turns(stage, ref)
    assert (first, last) == (UserTurn((), ("go",)), UserTurn((), ("and before?",)))
    assert isinstance(answer, AssistantTurn)
    assert answer.reply.text == "the answer"


async def test_a_paused_run_goes_on_with_an_edit(stage: Stage) -> None:
    ref = await stage.run()
    await stage.begin_step(ref)
    await stage.store.steps.abort_turn(ref, 1, Trigger.PAUSE, "no money", attempt=1)
    await stage.store.rewind.edit(ref, await first_id(stage, ref), "go cheaply")
    run = await stage.get_run(ref)
    assert (run.status, run.paused_reason, run.turn) == ("running", None, 1)
    assert await prompt_turns(stage, ref) == (UserTurn((), ("go cheaply",)),)


async def test_an_edit_gives_the_turn_its_corrections_back(stage: Stage) -> None:
    ref = await stage.run(result_schema='{"type":"integer"}')
    await stage.think(ref, result_of("wrong"))
    await stage.store.rewind.edit(ref, await first_id(stage, ref), "a number")
    assert (await stage.get_run(ref)).corrections == 0


async def test_the_same_text_again_changes_nothing(stage: Stage) -> None:
    ref = await stage.finished()
    message_id = await first_id(stage, ref)
    before = await stage.get_run(ref)
    record, is_new = await stage.store.rewind.edit(ref, message_id, "go")
    assert (record.id, is_new) == (message_id, False)
    assert await stage.get_run(ref) == before


# -- messages and replies that crossed -------------------------------------------------------------


async def test_a_reply_that_did_not_know_the_message_stays(stage: Stage) -> None:
    """The message was queued while the model answered the one before."""
    ref = await stage.run()
    question = await stage.begin_step(ref)
    queued = await stage.send(ref, "one more thing")
    await stage.record(question, text_of("the answer"))
    await stage.think(ref, text_of("both answers"))
    await stage.store.rewind.edit(ref, queued.id, "nothing more")
    first, answer, last = await prompt_turns(stage, ref)
    assert (first, last) == (UserTurn((), ("go",)), UserTurn((), ("nothing more",)))
    assert isinstance(answer, AssistantTurn)
    assert answer.reply.text == "the answer"


async def test_calls_that_did_not_know_the_message_go_on(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run()
    question = await stage.begin_step(ref)
    queued = await stage.send(ref, "one more thing")
    (order,) = (await stage.record(question, calls_for("sales_query"))).orders
    await stage.lease(ref, order.call_id)
    await stage.store.rewind.edit(ref, queued.id, "nothing more")
    await stage.finish(order.call_id)
    last = (await prompt_turns(stage, ref))[-1]
    assert isinstance(last, UserTurn)
    assert ([result.content for result in last.results], last.texts) == (
        ['"ok"'],
        ("nothing more",),
    )


async def test_messages_queued_behind_an_edited_one_are_replaced_with_the_rest(
    stage: Stage,
) -> None:
    ref = await stage.run()
    question = await stage.begin_step(ref)
    await stage.send(ref, "one more thing")
    await stage.store.rewind.edit(ref, await first_id(stage, ref), "another thing")
    state = await stage.record(question, text_of("the answer"))
    assert state.status == "running"
    assert await prompt_turns(stage, ref) == (UserTurn((), ("another thing",)),)
    assert (await stage.think(ref, text_of("done"))).status == "done"


# -- what is under way -----------------------------------------------------------------------------


async def test_a_reply_to_what_was_replaced_is_dropped(stage: Stage) -> None:
    ref = await stage.run()
    question = await stage.begin_step(ref)
    await stage.store.rewind.edit(ref, await first_id(stage, ref), "go slowly")
    state = await stage.record(question, text_of("quickly"))
    assert (state.status, state.step) == ("running", 0)
    assert len(await stage.events(ref, "step.dropped")) == 1
    assert await prompt_turns(stage, ref) == (UserTurn((), ("go slowly",)),)


async def test_a_providers_no_to_what_was_replaced_ends_nothing(stage: Stage) -> None:
    ref = await stage.run()
    question = await stage.begin_step(ref)
    await stage.store.rewind.edit(ref, await first_id(stage, ref), "go slowly")
    state = await stage.store.steps.abort_turn(
        ref, 1, Trigger.FAIL, "too long", attempt=1, rewinds=question.run.rewinds
    )
    assert state.status == "running"
    assert (await stage.get_run(ref)).status == "running"


async def test_calls_of_a_replaced_reply_are_closed(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run()
    at_work, waiting = await stage.called(ref, "sales_query", "sales_query")
    await stage.lease(ref, at_work.call_id)
    await stage.store.rewind.edit(ref, await first_id(stage, ref), "go slowly")
    with pytest.raises(SupersededError):
        await stage.finish(at_work.call_id)
    with pytest.raises(SupersededError):
        await stage.get_lease(at_work.call_id)
    for order in (at_work, waiting):
        row = await stage.call_row(order.call_id)
        assert (row["status"], row["result_type"], row["shown"]) == ("failure", "rejection", True)
    seen = await stage.store.calls.read_pending_requests(ref)
    assert {outcome.call_id for outcome in seen.settled} == {at_work.call_id, waiting.call_id}
    assert await prompt_turns(stage, ref) == (UserTurn((), ("go slowly",)),)


async def test_a_summary_that_nobody_will_read_is_not_waited_for(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run()
    (order,) = await stage.called(ref)
    await stage.lease_and_finish(ref, order.call_id, "x" * 20_000)
    await stage.store.rewind.edit(ref, await first_id(stage, ref), "go slowly")
    found = await stage.store.results.original(ref, order.call_id)
    assert found is not None
    assert not found[1]
    await stage.store.results.show_summary(ref, order.call_id, "much", 20_000)
    assert await prompt_turns(stage, ref) == (UserTurn((), ("go slowly",)),)


async def test_a_result_of_a_replaced_reply_is_not_withdrawn(stage: Stage) -> None:
    """Temporal refuses the result after the edit: the call must not be made once more."""
    await stage.register("query")
    ref = await stage.run()
    (order,) = await stage.called(ref)
    finished = await stage.lease_and_finish(ref, order.call_id)
    await stage.store.rewind.edit(ref, await first_id(stage, ref), "go slowly")
    await stage.store.calls.supersede(finished.call)
    assert (await stage.call_row(order.call_id))["status"] == "success"
    assert await prompt_turns(stage, ref) == (UserTurn((), ("go slowly",)),)


async def test_reading_requests_reports_once_that_the_question_is_out_of_date(stage: Stage) -> None:
    ref = await stage.run()
    await stage.begin_step(ref)
    await stage.store.rewind.edit(ref, await first_id(stage, ref), "go slowly")
    assert [(await stage.store.calls.read_pending_requests(ref)).rewound for _ in range(2)] == [
        True,
        False,
    ]
    await stage.store.rewind.edit(ref, await first_id(stage, ref), "go quickly")
    await stage.begin_step(ref)
    assert not (await stage.store.calls.read_pending_requests(ref)).rewound


# -- retries ---------------------------------------------------------------------------------------


async def test_a_retry_begins_again_from_the_last_message(stage: Stage) -> None:
    ref = await stage.finished()
    message = await stage.send(ref, "and then?")
    await stage.think(ref, text_of("that"))
    await stage.store.rewind.retry(ref, None)
    run = await stage.get_run(ref)
    assert (run.status, run.turn, run.rewinds) == ("pending", 3, 1)
    (event,) = await stage.events(ref, "run.retried")
    assert event == {"messageId": message.id, "replaced": 1, "turn": 3}
    _, answer, last = await prompt_turns(stage, ref)
    assert isinstance(answer, AssistantTurn)
    assert last == UserTurn((), ("and then?",))
    assert (await stage.think(ref, text_of("this"))).status == "done"


async def test_a_retry_from_an_earlier_message_leaves_nothing_unread(stage: Stage) -> None:
    """Replaced messages are later than all that the model is shown now: they must not count as new."""
    ref = await stage.finished()
    await stage.send(ref, "and then?")
    await stage.store.rewind.retry(ref, await first_id(stage, ref))
    assert await prompt_turns(stage, ref) == (UserTurn((), ("go",)),)
    assert (await stage.think(ref, text_of("again"))).status == "done"


async def test_a_retry_after_a_retry_and_an_edit(stage: Stage) -> None:
    ref = await stage.finished()
    first = await first_id(stage, ref)
    await stage.store.rewind.retry(ref, first)
    await stage.think(ref, text_of("second"))
    await stage.store.rewind.edit(ref, first, "go slowly")
    await stage.think(ref, text_of("third"))
    await stage.store.rewind.retry(ref, None)
    assert await prompt_turns(stage, ref) == (UserTurn((), ("go slowly",)),)
    assert (await stage.get_run(ref)).rewinds == 3


# -- refusals --------------------------------------------------------------------------------------


async def _refused(stage: Stage, ref: RunRef, message_id: str) -> set[str]:
    codes: set[str] = set()
    for attempt in (
        stage.store.rewind.edit(ref, message_id, "else"),
        stage.store.rewind.retry(ref, message_id),
    ):
        with pytest.raises(ConflictError) as caught:
            await attempt
        codes.add(caught.value.code)
    return codes


async def test_only_what_was_sent_to_the_run_can_be_edited(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run(result_schema='{"type":"integer"}')
    (order,) = await stage.called(ref)
    await stage.lease_and_finish(ref, order.call_id)
    await stage.think(ref, text_of(""))  # empty: the engine's own words send it back
    others = [
        row
        for row in await rows_of(stage, ref, replaced=None)
        if row.type != MessageType.HUMAN.value
    ]
    assert {row.type for row in others} == {"agent", "invocation-result", "supervisor"}
    for row in others:
        assert await _refused(stage, ref, row.id) == {"not_editable"}


async def test_what_was_replaced_cannot_be_edited(stage: Stage) -> None:
    ref = await stage.finished()
    later = await stage.send(ref, "and then?")
    await stage.store.rewind.edit(ref, await first_id(stage, ref), "go slowly")
    assert await _refused(stage, ref, later.id) == {"message_is_replaced"}


async def test_a_run_that_is_not_interactive_is_never_gone_back_in(stage: Stage) -> None:
    ref = await stage.finished(interactive=False)
    assert await _refused(stage, ref, await first_id(stage, ref)) == {"run_is_not_interactive"}


@pytest.mark.parametrize("running", [True, False])
async def test_a_cancelled_run_is_never_gone_back_in(stage: Stage, running: bool) -> None:
    ref = await stage.run()
    if running:
        await stage.begin_step(ref)
    await stage.store.runs.cancel(ref, "enough")
    assert await _refused(stage, ref, await first_id(stage, ref)) == {"run_is_cancelled"}


async def test_an_unknown_message_and_a_foreign_run_look_the_same(stage: Stage) -> None:
    ref, other = await stage.run(), await stage.run()
    foreign = RunRef("another-cluster", ref.run_id)
    for where, message_id in ((ref, await first_id(stage, other)), (foreign, "message-1")):
        with pytest.raises(NotFoundError):
            await stage.store.rewind.edit(where, message_id, "else")
        with pytest.raises(NotFoundError):
            await stage.store.rewind.retry(where, message_id)
