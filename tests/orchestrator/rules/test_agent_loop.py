"""The rules of the model loop, over every situation there can be."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from hypothesis import given, strategies as st
from pydantic import JsonValue

from orchestrator.llm.messages import StopReason
from orchestrator.rules.agent_loop import (
    MAX_CORRECTIONS,
    MAX_STEPS_PER_TURN,
    Action,
    AwaitApproval,
    CallFunctions,
    CallModel,
    Cancel,
    Fail,
    Finish,
    Idle,
    LoopState,
    ModelOutput,
    ProposedResult,
    RequestCorrection,
    Summarize,
    next_action,
)
from orchestrator.rules.lifecycle import Trigger, allows, is_final
from perdure.contract import FINAL_STATUSES, RunStatus

texts = st.sampled_from(["", " \n", "the answer"])
results = st.none() | st.integers() | st.dictionaries(st.text(max_size=3), st.integers())
offers = st.builds(ProposedResult, results, st.sampled_from([(), ("/a: is missing",)]))
text_output = st.builds(
    ModelOutput,
    st.sampled_from(StopReason),
    texts,
    st.sampled_from(["", "It is against the rules."]),
    st.none() | offers,
    st.none() | st.just("cannot be done"),
    st.booleans(),
)
call_ids = st.lists(st.text("abc", min_size=1), max_size=3, unique=True).map(tuple)
situations = st.builds(
    LoopState,
    status=st.sampled_from(RunStatus),
    cancel_wanted=st.booleans(),
    unanswered=call_ids,
    oversized=call_ids,
    interrupted=call_ids,
    output=st.none() | text_output,
    unread=st.booleans(),
    wants_schema=st.booleans(),
    corrections=st.integers(0, MAX_CORRECTIONS + 1),
    steps=st.sampled_from([0, 1, MAX_STEPS_PER_TURN - 1, MAX_STEPS_PER_TURN]),
)
running = situations.map(
    lambda now: replace(
        now,
        status=RunStatus.RUNNING,
        cancel_wanted=False,
        unanswered=(),
        oversized=(),
        interrupted=(),
    )
)

OUTPUT = ModelOutput(StopReason.END, "the answer")
RUNNING = LoopState(RunStatus.RUNNING, output=OUTPUT, steps=1)


@given(now=situations)
def test_every_situation_has_exactly_one_next_step(now: LoopState) -> None:
    step = next_action(now)
    assert isinstance(step, get_args(Action))
    assert next_action(now) == step


@given(now=situations)
def test_the_model_is_never_called_while_a_call_is_unanswered(now: LoopState) -> None:
    if isinstance(next_action(now), CallModel | RequestCorrection | Finish):
        assert not now.unanswered
        assert not now.oversized


@given(now=situations)
def test_a_final_status_is_left_alone(now: LoopState) -> None:
    if is_final(now.status):
        assert next_action(now) == Idle()


@given(now=situations)
def test_a_paused_run_makes_what_calls_it_is_given_and_rests(now: LoopState) -> None:
    paused = replace(now, status=RunStatus.PAUSED)
    waits = CallFunctions(now.unanswered) if now.unanswered else Idle()
    assert next_action(paused) == (Cancel() if now.cancel_wanted else waits)


@given(now=situations)
def test_a_cancel_goes_before_everything_but_the_end(now: LoopState) -> None:
    wanted = next_action(replace(now, cancel_wanted=True))
    assert wanted == (Idle() if now.status in FINAL_STATUSES else Cancel())
    assert next_action(replace(now, cancel_wanted=False)) != Cancel()


@given(now=situations)
def test_a_turn_never_ends_with_an_unread_message(now: LoopState) -> None:
    assert not isinstance(next_action(replace(now, unread=True)), Finish)


@given(now=situations)
def test_what_the_rules_decide_the_lifecycle_allows(now: LoopState) -> None:
    """Except on a turn that has not begun: a reply implies that it has."""
    status = RunStatus.RUNNING if now.status is RunStatus.PENDING else now.status
    match next_action(replace(now, status=status)):
        case Finish():
            assert allows(status, Trigger.FINISH)
        case Fail():
            assert allows(status, Trigger.FAIL)
        case Cancel():
            assert allows(status, Trigger.CANCEL)
        case AwaitApproval():
            assert allows(status, Trigger.PAUSE)
        case _:
            assert status in RunStatus


@given(now=situations)
def test_calls_are_named_as_they_were_asked(now: LoopState) -> None:
    match next_action(now):
        case CallFunctions(calls):
            assert calls == now.unanswered
        case Summarize(calls):
            assert calls == now.oversized
        case AwaitApproval(calls):
            assert calls == now.interrupted
        case _:
            assert not (now.status is RunStatus.RUNNING and now.unanswered) or now.cancel_wanted


@given(now=situations)
def test_the_model_is_not_asked_while_a_person_is(now: LoopState) -> None:
    if now.interrupted:
        assert not isinstance(next_action(now), CallModel | RequestCorrection | Finish)


@given(now=running)
def test_corrections_are_bounded(now: LoopState) -> None:
    if isinstance(next_action(now), RequestCorrection):
        assert now.corrections < MAX_CORRECTIONS
    exhausted = next_action(replace(now, corrections=MAX_CORRECTIONS))
    assert not isinstance(exhausted, RequestCorrection)


@given(now=running)
def test_a_turn_that_goes_in_circles_fails(now: LoopState) -> None:
    step = next_action(replace(now, steps=MAX_STEPS_PER_TURN))
    assert isinstance(step, Fail | Finish)


@given(now=running, offered=offers)
def test_a_result_that_breaks_its_schema_is_never_the_result(
    now: LoopState, offered: ProposedResult
) -> None:
    said = ModelOutput(StopReason.CALLS, proposed=offered, answered=True)
    step = next_action(replace(now, output=said))
    if isinstance(step, Finish) and offered.problems:
        assert step.result is None
        assert step.null_reason is not None
        assert "is missing" in step.null_reason


def test_a_turn_that_nobody_spoke_in_begins_with_the_model() -> None:
    assert next_action(LoopState(RunStatus.PENDING)) == CallModel()
    assert next_action(LoopState(RunStatus.RUNNING)) == CallModel()


def test_plain_text_is_the_answer_of_a_run_without_a_schema() -> None:
    assert next_action(RUNNING) == Finish("the answer")


def test_a_message_that_the_model_has_not_seen_brings_it_back() -> None:
    assert next_action(replace(RUNNING, unread=True)) == CallModel()


def test_a_result_that_is_right_ends_the_turn_even_when_it_is_null() -> None:
    values: list[JsonValue] = [{"a": 1}, None, False, 0, ""]
    for result in values:
        said = ModelOutput(StopReason.CALLS, proposed=ProposedResult(result), answered=True)
        assert next_action(replace(RUNNING, output=said, wants_schema=True)) == Finish(result)


def test_wrong_results_are_sent_back_with_the_exact_errors_then_abandoned() -> None:
    said = ModelOutput(
        StopReason.CALLS, proposed=ProposedResult({}, ("/a: is missing", "/b: no integer"))
    )
    now = replace(RUNNING, output=said, wants_schema=True)
    for corrections in range(MAX_CORRECTIONS):
        step = next_action(replace(now, corrections=corrections))
        assert isinstance(step, RequestCorrection)
        assert "- /a: is missing\n- /b: no integer" in step.problem
    last = next_action(replace(now, corrections=MAX_CORRECTIONS))
    assert isinstance(last, Finish)
    assert last.result is None
    assert last.null_reason is not None
    assert "/b: no integer" in last.null_reason


def test_without_a_schema_a_model_that_says_nothing_fails_the_run() -> None:
    now = replace(RUNNING, output=ModelOutput(StopReason.END, " "), corrections=MAX_CORRECTIONS)
    step = next_action(now)
    assert isinstance(step, Fail)
    assert "empty" in step.reason


def test_a_model_that_abandons_ends_the_turn_with_its_reason() -> None:
    said = ModelOutput(StopReason.CALLS, gave_up="no such table", answered=True)
    step = next_action(replace(RUNNING, output=said, wants_schema=True))
    assert step == Finish(None, "The model gave up: no such table")


def test_a_refusal_and_a_full_window_fail_with_a_reason_for_people() -> None:
    refused = next_action(
        replace(RUNNING, output=ModelOutput(StopReason.REFUSAL, detail="Against the rules."))
    )
    assert refused == Fail("The model refused to answer. Against the rules.")
    full = next_action(replace(RUNNING, output=ModelOutput(StopReason.CONTEXT, "half an ans")))
    assert isinstance(full, Fail)
    assert "context window" in full.reason


def test_a_reply_that_was_cut_off_is_never_an_answer() -> None:
    step = next_action(replace(RUNNING, output=ModelOutput(StopReason.LENGTH, "the answ")))
    assert isinstance(step, RequestCorrection)
    assert "cut off" in step.problem


def test_it_is_the_models_turn_again_after_a_pause_and_after_answers_given_at_once() -> None:
    assert (
        next_action(replace(RUNNING, output=ModelOutput(StopReason.PAUSE, "so far"))) == CallModel()
    )
    assert (
        next_action(replace(RUNNING, output=ModelOutput(StopReason.CALLS, "", answered=True)))
        == CallModel()
    )
