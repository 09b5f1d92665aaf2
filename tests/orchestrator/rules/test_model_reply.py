"""What a reply asks for, whatever mixture of calls a model puts in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, strategies as st
from pydantic import JsonValue

from orchestrator.llm.messages import ModelResponse, StopReason, Tool, ToolCall
from orchestrator.llm.prompts import GIVE_UP_TOOL, READ_TOOL, RESULT_TOOL, own_tools, system_prompt
from orchestrator.llm.tools import AvailableFunction
from orchestrator.rules.agent_loop import ProposedResult
from orchestrator.rules.model_reply import Check, ParsedReply, parse_reply
from orchestrator.store.database.json_columns import from_json
from perdure.contract import INLINE_RESULT_CHARACTERS, MAX_RESULT_BYTES

QUERY = AvailableFunction(
    service="sales",
    name="query",
    tool=Tool("sales_query", "", {"type": "object"}),
    max_attempts=1,
    timeout_ms=1_000,
    deadline_ms=60_000,
    heartbeats=True,
)
BROKEN_OFF = (StopReason.LENGTH, StopReason.CONTEXT, StopReason.REFUSAL)


def _check_input(function: AvailableFunction, value: JsonValue) -> Sequence[str]:
    return () if isinstance(value, dict) and "sql" in value else ("sql is missing",)


def _whole_number(value: JsonValue) -> Sequence[str]:
    return () if type(value) is int else (f"{value!r} is not a whole number",)


def _read(reply: ModelResponse, check_result: Check | None = None) -> ParsedReply:
    return parse_reply(
        reply,
        {QUERY.tool.name: QUERY},
        check_input=_check_input,
        check_result=check_result,
        parse=from_json,
    )


def _asked(*calls: tuple[str, Any], stop: StopReason = StopReason.CALLS) -> ModelResponse:
    made = [ToolCall(f"t{n}", name, value) for n, (name, value) in enumerate(calls)]
    return ModelResponse("", stop, tuple(made))


names = st.sampled_from(["sales_query", "unknown", READ_TOOL, RESULT_TOOL, GIVE_UP_TOOL])
values: st.SearchStrategy[JsonValue] = st.sampled_from(
    [
        {"sql": "select 1"},
        {"callId": "c", "offset": 3},
        {"callId": "c", "offset": "three"},
        {"result": 1},
        {"result": "one"},
        {"reason": "no data"},
        {},
        [],
        None,
        "text",
    ]
)


@given(
    calls=st.lists(st.tuples(names, values), max_size=6),
    stop=st.sampled_from(StopReason),
    with_schema=st.booleans(),
)
def test_every_tool_call_lands_in_exactly_one_place(
    calls: list[tuple[str, JsonValue]], stop: StopReason, with_schema: bool
) -> None:
    plan = _read(_asked(*calls, stop=stop), _whole_number if with_schema else None)
    places = [
        *(call.tool_call.id for call in plan.calls),
        *(part.tool_call.id for part in plan.reads),
        *(answer.id for answer in plan.answers),
        *([plan.final_call.id] if plan.final_call else []),
    ]
    assert sorted(places) == [f"t{n}" for n in range(len(calls))]


@pytest.mark.parametrize("stop", BROKEN_OFF)
def test_a_reply_that_was_broken_off_calls_nothing(stop: StopReason) -> None:
    reply = _asked(
        ("sales_query", {"sql": "select"}),
        (RESULT_TOOL, {"result": 1}),
        (READ_TOOL, {"callId": "c"}),
        (GIVE_UP_TOOL, {"reason": "no"}),
        stop=stop,
    )
    plan = _read(reply)
    assert len(plan.answers) == 4
    assert all(answer.is_error for answer in plan.answers)
    assert (plan.calls, plan.reads, plan.final_call) == ((), (), None)
    assert (plan.output.proposed, plan.output.gave_up) == (None, None)


def test_calls_keep_the_order_in_which_the_model_asked() -> None:
    plan = _read(_asked(*[("sales_query", {"sql": str(n)}) for n in range(5)]))
    assert [call.tool_call.input for call in plan.calls] == [{"sql": str(n)} for n in range(5)]
    assert {call.function.name for call in plan.calls} == {"query"}


def test_a_function_that_does_not_exist_is_answered_with_those_that_do() -> None:
    (answer,) = _read(_asked(("sales_drop", {}))).answers
    assert answer.is_error
    assert "'sales_drop'" in answer.content
    assert "sales_query" in answer.content


def test_a_wrong_input_is_answered_with_what_is_wrong_instead_of_called() -> None:
    plan = _read(_asked(("sales_query", {"table": "orders"})))
    assert plan.calls == ()
    assert "sql is missing" in plan.answers[0].content


def test_a_part_is_read_with_the_defaults_that_the_tool_promises() -> None:
    (part,) = _read(_asked((READ_TOOL, {"callId": "c"}))).reads
    assert (part.call_id, part.offset, part.length) == ("c", 0, INLINE_RESULT_CHARACTERS)


@pytest.mark.parametrize(
    "value",
    [
        {"offset": 0},
        {"callId": 1},
        {"callId": "c", "offset": -1},
        {"callId": "c", "offset": 1.5},
        {"callId": "c", "length": 0},
        {"callId": "c", "length": INLINE_RESULT_CHARACTERS + 1},
        "c",
        None,
    ],
)
def test_a_part_that_cannot_be_is_refused(value: JsonValue) -> None:
    plan = _read(_asked((READ_TOOL, value)))
    assert plan.reads == ()
    assert plan.answers[0].is_error


def test_an_offset_beyond_every_result_stays_a_number_that_databases_know() -> None:
    (part,) = _read(_asked((READ_TOOL, {"callId": "c", "offset": 10**30}))).reads
    assert part.offset == MAX_RESULT_BYTES


def test_a_result_is_offered_with_the_violations_of_its_schema() -> None:
    right = _read(_asked((RESULT_TOOL, {"result": 7})), _whole_number)
    assert right.output.proposed == ProposedResult(7)
    assert right.final_call is not None
    wrong = _read(_asked((RESULT_TOOL, {"result": "seven"})), _whole_number)
    assert wrong.output.proposed == ProposedResult("seven", ("'seven' is not a whole number",))


def test_without_a_schema_any_result_will_do() -> None:
    assert _read(_asked((RESULT_TOOL, {"result": [None]}))).output.proposed == ProposedResult(
        [None]
    )


@pytest.mark.parametrize("value", [{}, {"value": 1}, None, 7])
def test_a_result_call_without_a_result_says_so(value: JsonValue) -> None:
    offered = _read(_asked((RESULT_TOOL, value)), _whole_number).output.proposed
    assert offered is not None
    assert "result is missing" in offered.problems[0]


def test_only_the_first_result_of_a_reply_counts() -> None:
    plan = _read(_asked((RESULT_TOOL, {"result": 1}), (RESULT_TOOL, {"result": 2})))
    assert plan.output.proposed == ProposedResult(1)
    assert plan.final_call is not None
    assert plan.final_call.id == "t0"
    assert (plan.answers[0].id, plan.answers[0].is_error) == ("t1", True)


@pytest.mark.parametrize("value", [{}, None, {"reason": ""}, {"reason": None}])
def test_giving_up_needs_no_reason(value: JsonValue) -> None:
    assert _read(_asked((GIVE_UP_TOOL, value))).output.gave_up == "no reason given"


@pytest.mark.parametrize(("text", "result"), [("7", 7), (" 7\n", 7), ("007", None), ("x", None)])
def test_with_a_schema_text_that_is_json_is_accepted_as_the_result(
    text: str, result: JsonValue
) -> None:
    offered = _read(ModelResponse(text, StopReason.END), _whole_number).output.proposed
    assert offered is not None
    assert offered.result == result
    assert bool(offered.problems) == (result is None)


@pytest.mark.parametrize(
    "text", ["NaN", "-Infinity", '{"a": Infinity}', "1e999", '[{"a": -1e999}]', "[" * 100_000]
)
def test_what_json_does_not_have_is_no_result_even_where_the_schema_takes_anything(
    text: str,
) -> None:
    offered = _read(ModelResponse(text, StopReason.END), lambda value: ()).output.proposed
    assert offered is not None
    assert offered.problems


def test_without_a_schema_text_stays_text() -> None:
    assert _read(ModelResponse("7", StopReason.END)).output.proposed is None


@pytest.mark.parametrize(
    "stop", [StopReason.LENGTH, StopReason.PAUSE, StopReason.REFUSAL, StopReason.CONTEXT]
)
def test_half_a_text_is_never_accepted_as_the_result(stop: StopReason) -> None:
    assert _read(ModelResponse("7", stop), _whole_number).output.proposed is None


def test_our_own_tools_are_offered_under_the_names_that_are_read() -> None:
    offered = [tool.name for tool in own_tools({"type": "object"}, wants_schema=True)]
    assert offered == [READ_TOOL, RESULT_TOOL, GIVE_UP_TOOL]
    assert GIVE_UP_TOOL not in [tool.name for tool in own_tools({}, wants_schema=False)]


def test_the_system_prompt_keeps_the_users_own_text_and_braces() -> None:
    prompt = system_prompt('Answer as {"a": 1}.', wants_schema=True)
    assert prompt.endswith('\n\nAnswer as {"a": 1}.')
    assert RESULT_TOOL in prompt
    assert GIVE_UP_TOOL in prompt
    assert GIVE_UP_TOOL not in system_prompt(None, wants_schema=False)
