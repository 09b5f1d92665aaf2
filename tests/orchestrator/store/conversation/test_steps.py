"""Model steps: paid once where recorded, dropped where late, whatever races."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from orchestrator.llm.messages import AssistantTurn, UserTurn
from orchestrator.llm.transcript import turns
from orchestrator.rules.lifecycle import Trigger
from orchestrator.store import tables
from orchestrator.store.conversation.step_input import StepInput, TranscriptCursor
from orchestrator.store.database.json_columns import object_from_json
from orchestrator.workflows.interface import RunRef, RunState
from tests.support.stage import Stage, calls_for, text_of


async def test_the_first_step_begins_the_turn(stage: Stage) -> None:
    ref = await stage.run()
    question = await stage.begin_step(ref)
    assert (question.step, turns(question.entries)) == (1, (UserTurn((), ("go",)),))
    run = await stage.get_run(ref)
    assert (run.status, run.wake_read) == ("running", run.wake_wanted)


async def test_a_step_that_is_begun_again_begins_no_second_turn(stage: Stage) -> None:
    ref = await stage.run()
    await stage.begin_step(ref)
    again = await stage.begin_step(ref, attempt=2)
    assert again.step == 1
    assert len(await stage.events(ref, "run.status")) == 1
    assert await stage.events(ref, "step.attempted") == [{"step": 1, "attempt": 2}]


async def test_a_recorded_step_is_not_asked_again(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run()
    state = await stage.think(ref, calls_for("sales_query"))
    again = await stage.begin(ref, 1, attempt=2)
    assert isinstance(again, RunState)
    assert (again.step, [order.call_id for order in again.orders]) == (
        1,
        [order.call_id for order in state.orders],
    )


async def test_nobody_asks_the_model_when_there_is_nothing_to_do(stage: Stage) -> None:
    ref = await stage.finished()
    before = await stage.get_run(ref)
    assert await stage.begin(ref) == RunState("done", 1)
    assert await stage.get_run(ref) == before


async def test_a_reply_is_recorded_with_its_usage_calls_and_events(stage: Stage) -> None:
    await stage.register("query", "count")
    ref = await stage.run()
    state = await stage.think(ref, calls_for("sales_query", "sales_count", "sales_query"))
    assert state.status == "running"
    assert [order.name for order in state.orders] == [
        "sales_query",
        "sales_count",
        "sales_query",
    ]
    run = await stage.get_run(ref)
    assert (run.step, run.model_calls) == (1, 1)
    tokens = (run.input_tokens, run.output_tokens, run.cache_read_tokens, run.cache_write_tokens)
    assert tokens == (10, 5, 3, 2)
    (step,) = await stage.rows(tables.steps)
    assert (step["step"], step["turn"], step["stop"], step["duration_ms"]) == (1, 1, "calls", 7)
    kinds = await stage.event_types(ref)
    assert kinds == ["run.created", "run.status", "step.recorded", *["call.created"] * 3]


async def test_the_second_of_two_replies_is_dropped_and_its_price_recorded(stage: Stage) -> None:
    ref = await stage.run()
    question, rival = await stage.begin_step(ref), await stage.begin_step(ref, attempt=2)
    first = await stage.record(question, text_of("first"))
    second = await stage.record(rival, text_of("second"), attempt=2)
    assert second == replace(first, late=True)
    run = await stage.get_run(ref)
    assert (run.result, run.model_calls, run.input_tokens) == ('"first"', 1, 10)
    assert await stage.events(ref, "step.dropped") == [
        {
            "step": 1,
            "usage": {
                "inputTokens": 10,
                "outputTokens": 5,
                "cacheReadTokens": 3,
                "cacheWriteTokens": 2,
            },
        }
    ]


async def test_of_many_records_of_one_step_exactly_one_counts(
    stage: Stage, elsewhere: Stage
) -> None:
    await stage.register("query")
    ref = await stage.run()
    question = await stage.begin_step(ref)
    states = await asyncio.gather(
        *(place.record(question, calls_for("sales_query")) for place in [stage, elsewhere] * 3)
    )
    assert len({state.orders[0].call_id for state in states}) == 1
    assert len(await stage.rows(tables.steps)) == 1
    assert len(await stage.rows(tables.calls)) == 1
    assert len(await stage.events(ref, "step.dropped")) == 5
    run = await stage.get_run(ref)
    assert (run.step, run.model_calls) == (1, 1)
    assert [e.version for e in await stage.store.runs.events(ref, after=0, limit=50)] == list(
        range(1, run.version + 1)
    )


async def test_a_reply_after_a_cancel_is_dropped(stage: Stage) -> None:
    ref = await stage.run()
    question = await stage.begin_step(ref)
    await stage.store.runs.cancel(ref, "enough")
    await stage.store.runs.end_turn(ref, Trigger.CANCEL, "")
    assert await stage.record(question, text_of("too late")) == RunState("cancelled", 0, late=True)
    assert await stage.event_types(ref) == [
        *("run.created", "run.status", "run.cancel_requested", "run.status", "step.dropped")
    ]
    assert [kind for kind, _ in await stage.messages(ref)] == ["human"]


async def test_a_reply_that_meets_the_cancel_request_carries_it_out(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run()
    question = await stage.begin_step(ref)
    await stage.store.runs.cancel(ref, "enough")
    assert await stage.record(question, text_of("the answer")) == RunState("cancelled", 1)
    run = await stage.get_run(ref)
    assert (run.result, run.failure_reason, run.model_calls) == (None, "enough", 1)


async def test_a_reply_from_before_a_pause_is_dropped(stage: Stage) -> None:
    """One attempt lost its worker's heartbeat and went on; the next one met a spend limit."""
    ref = await stage.run()
    lost = await stage.begin_step(ref)
    await stage.begin_step(ref, attempt=2)
    await stage.store.steps.abort_turn(ref, 1, Trigger.PAUSE, "no money", attempt=2)
    assert await stage.record(lost, text_of("the answer")) == RunState("paused", 0, late=True)
    await stage.store.runs.resume(ref)
    assert (await stage.think(ref, text_of("the answer"))).status == "done"


async def test_a_reply_from_a_turn_that_failed_meanwhile_is_dropped(stage: Stage) -> None:
    ref = await stage.run()
    lost = await stage.begin_step(ref)
    await stage.store.runs.end_turn(ref, Trigger.FAIL, "the model could not be reached")
    await stage.send(ref, "again")
    assert (await stage.record(lost, text_of("old"))).status == "pending"
    question = await stage.begin_step(ref)
    assert (await stage.record(lost, text_of("old"))).status == "running"
    assert (await stage.record(question, text_of("new"))).status == "done"
    assert len(await stage.events(ref, "step.dropped")) == 2


async def test_a_cancel_is_carried_out_by_whoever_comes_first(stage: Stage) -> None:
    ref = await stage.run()
    await stage.begin_step(ref)
    await stage.store.runs.cancel(ref, "enough")
    assert await stage.begin(ref, 1, attempt=2) == RunState("cancelled", 0)
    assert (await stage.get_run(ref)).failure_reason == "enough"


def _ref_of(question: StepInput) -> RunRef:
    return RunRef(question.run.cluster_id, question.run.id)


# -- the quick way in the middle of a turn ---------------------------------------------------------


async def _finish_all(stage: Stage) -> StepInput:
    """A run that is about to take its second step; the question of that step."""
    await stage.register("query")
    ref = await stage.run()
    (order,) = await stage.called(ref)
    await stage.lease_and_finish(ref, order.call_id)
    return await stage.begin_step(ref, 2)


async def test_a_quiet_step_writes_nothing(stage: Stage) -> None:
    question = await _finish_all(stage)
    ref = _ref_of(question)
    before = await stage.get_run(ref)
    again = await stage.begin_step(ref, 2)
    assert (again.step, again.entries) == (2, question.entries)
    assert [type(turn) for turn in turns(again.entries)] == [UserTurn, AssistantTurn, UserTurn]
    assert await stage.get_run(ref) == before


def _known(question: StepInput, last_key: int) -> TranscriptCursor:
    run = question.run
    return TranscriptCursor(run.key, last_key, run.rewinds, run.created_at)


async def test_a_worker_is_given_only_the_entries_it_does_not_know(stage: Stage) -> None:
    whole = await _finish_all(stage)
    ref = _ref_of(whole)
    for known in (whole.entries[0].key, whole.entries[-1].key):
        some = await stage.store.steps.begin(
            ref, 2, lost=[], attempt=1, cursor=_known(whole, known)
        )
        assert isinstance(some, StepInput)
        assert some.after == known
        assert some.entries == tuple(entry for entry in whole.entries if entry.key > known)


async def test_a_transcript_of_another_run_of_that_name_is_not_trusted(stage: Stage) -> None:
    whole = await _finish_all(stage)
    question = await stage.store.steps.begin(
        _ref_of(whole), 2, lost=[], attempt=1, cursor=TranscriptCursor(whole.run.key + 1, 10**6)
    )
    assert isinstance(question, StepInput)
    assert (question.after, question.entries) == (0, whole.entries)


async def test_the_fast_path_does_not_overlook_a_pending_request(stage: Stage) -> None:
    question = await _finish_all(stage)
    ref = _ref_of(question)
    await stage.send(ref, "one more thing")
    (*_, last) = turns((await stage.begin_step(ref, 2)).entries)
    assert isinstance(last, UserTurn)
    assert last.texts == ("one more thing",)
    run = await stage.get_run(ref)
    assert run.wake_read == run.wake_wanted
    await stage.store.runs.cancel(ref, "enough")
    assert await stage.begin(ref, 2) == RunState("cancelled", 1)


async def test_the_fast_path_does_not_overlook_an_open_call(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run()
    orders = await stage.called(ref, "sales_query", "sales_query")
    await stage.lease_and_finish(ref, orders[0].call_id)
    state = await stage.begin(ref, 2)
    assert isinstance(state, RunState)
    assert [order.call_id for order in state.orders] == [orders[1].call_id]


# -- trouble with the model ------------------------------------------------------------------------


async def test_a_retry_is_shown_on_the_run_until_the_reply_comes(stage: Stage) -> None:
    ref = await stage.run()
    question = await stage.begin_step(ref)
    await stage.store.steps.report_retry(ref, 1, "overloaded", 86_400_000)
    waiting = object_from_json((await stage.get_run(ref)).waiting_for or "")
    assert (waiting["kind"], waiting["detail"]) == ("model", "overloaded")
    assert waiting["retryAt"] == "1970-01-02T00:00:00+00:00"
    await stage.record(question, text_of("the answer"))
    assert (await stage.get_run(ref)).waiting_for is None


async def test_trouble_with_a_step_that_is_recorded_already_is_no_trouble(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run()
    await stage.called(ref)
    before = await stage.get_run(ref)
    await stage.store.steps.report_retry(ref, 1, "overloaded", None)
    for move in (Trigger.PAUSE, Trigger.FAIL):
        state = await stage.store.steps.abort_turn(ref, 1, move, "no", attempt=2)
        assert state.status == "running"
        assert len(state.orders) == 1
    assert await stage.get_run(ref) == before


async def test_a_spend_limit_pauses_and_a_bad_request_fails(stage: Stage) -> None:
    for move, status, reason in (
        (Trigger.PAUSE, "paused", "paused_reason"),
        (Trigger.FAIL, "failed", "failure_reason"),
    ):
        ref = await stage.run()
        await stage.begin_step(ref)
        state = await stage.store.steps.abort_turn(ref, 1, move, "why", attempt=1)
        assert state == RunState(status, 0)
        assert getattr(await stage.get_run(ref), reason) == "why"


@pytest.mark.parametrize("move", [Trigger.PAUSE, Trigger.FAIL])
async def test_trouble_with_the_model_does_not_undo_a_cancel(stage: Stage, move: Trigger) -> None:
    ref = await stage.run()
    await stage.begin_step(ref)
    await stage.store.runs.cancel(ref, "enough")
    assert (await stage.store.calls.read_pending_requests(ref)).cancel_wanted
    state = await stage.store.steps.abort_turn(ref, 1, move, "no money", attempt=1)
    assert state.status == "cancelled"
    run = await stage.get_run(ref)
    assert (run.failure_reason, run.paused_reason) == ("enough", None)
