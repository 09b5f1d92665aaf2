"""Why a model calls: asked for in the tool, taken out of the input, kept, and shown to the model again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest
from pydantic import JsonValue

from orchestrator.llm.messages import (
    AssistantTurn,
    ModelResponse,
    StopReason,
    Tool,
    ToolCall,
    ToolResult,
)
from orchestrator.llm.prompts import (
    MAX_CONTEXT_CHARACTERS,
    READ_TOOL,
    REASON_PARAMETER,
    SEARCH_TOOL,
    own_tools,
    system_prompt,
    with_function_note,
    with_reason_parameter,
)
from orchestrator.llm.tools import AvailableFunction
from orchestrator.llm.transcript import TranscriptEntry, public_data, reply_data, text_data, turns
from orchestrator.rules.model_reply import ParsedReply, parse_reply
from orchestrator.store.database.json_columns import from_json, object_from_json, to_json
from perdure.contract import MessageType

SCHEMA: dict[str, JsonValue] = {
    "type": "object",
    "properties": {"sql": {"type": "string"}},
    "required": ["sql"],
    "additionalProperties": False,
}
QUERY = AvailableFunction(
    service="sales",
    name="query",
    tool=Tool("sales_query", "Query.", SCHEMA),
    max_attempts=1,
    timeout_ms=1_000,
    deadline_ms=60_000,
    heartbeats=True,
)
OWN_TEXT = replace(
    QUERY,
    name="own",
    tool=Tool("sales_own", "", {"properties": {REASON_PARAMETER: {"type": "string"}}}),
)


def _check(function: AvailableFunction, value: JsonValue) -> Sequence[str]:
    assert isinstance(value, dict)
    return (
        () if REASON_PARAMETER not in value or function is OWN_TEXT else ("it was not taken out",)
    )


def _read(*calls: ToolCall, text: str = "") -> ParsedReply:
    return parse_reply(
        ModelResponse(text, StopReason.CALLS, calls),
        {QUERY.tool.name: QUERY, OWN_TEXT.tool.name: OWN_TEXT},
        check_input=_check,
        check_result=None,
        parse=from_json,
        inline_tools={SEARCH_TOOL: lambda call: ToolResult(call.id, call.name, "found")},
        selected_tools=("sales_query",),
    )


def test_the_reasoning_is_the_first_parameter_and_everything_else_stays() -> None:
    schema = with_reason_parameter(QUERY.tool).schema
    properties = cast("dict[str, JsonValue]", schema["properties"])
    assert list(properties) == [REASON_PARAMETER, "sql"]
    assert schema["required"] == [REASON_PARAMETER, "sql"]
    assert schema["additionalProperties"] is False
    assert SCHEMA["properties"] == {"sql": {"type": "string"}}, "the user's schema is not touched"
    assert to_json(with_reason_parameter(QUERY.tool).schema) == to_json(schema), (
        "the prompt cache holds"
    )


@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"properties": {}}])
def test_a_function_without_parameters_has_one_to_reason_in(schema: dict[str, JsonValue]) -> None:
    assert REASON_PARAMETER in cast(
        "dict[str, JsonValue]", with_reason_parameter(Tool("f", "", schema)).schema["properties"]
    )


@pytest.mark.parametrize(
    "schema",
    [{"properties": {REASON_PARAMETER: {}}}, {"properties": ["odd"]}, {"required": "odd"}],
)
def test_a_schema_that_has_no_room_for_it_stays_as_it_is(schema: dict[str, JsonValue]) -> None:
    assert with_reason_parameter(Tool("f", "", schema)).schema == schema


def test_it_is_removed_before_anybody_reads_the_input() -> None:
    plan = _read(ToolCall("t1", "sales_query", {REASON_PARAMETER: "To see.", "sql": "select 1"}))
    (call,) = plan.calls
    assert call.tool_call == ToolCall("t1", "sales_query", {"sql": "select 1"}, "To see.")
    assert plan.reply.calls == (call.tool_call,)


def test_a_call_without_it_is_as_good() -> None:
    plan = _read(ToolCall("t1", "sales_query", {"sql": "select 1"}))
    assert plan.calls[0].tool_call.reasoning is None


@pytest.mark.parametrize("odd", [None, 7, ["because"], {}])
def test_reasons_that_are_no_text_are_removed_and_dropped(odd: JsonValue) -> None:
    (call,) = _read(ToolCall("t1", "sales_query", {REASON_PARAMETER: odd, "sql": ""})).calls
    assert call.tool_call == ToolCall("t1", "sales_query", {"sql": ""})


def test_a_parameter_of_the_function_itself_is_passed_on() -> None:
    (call,) = _read(ToolCall("t1", "sales_own", {REASON_PARAMETER: "mine"})).calls
    assert call.tool_call == ToolCall("t1", "sales_own", {REASON_PARAMETER: "mine"})


def test_our_own_tools_have_no_reasons() -> None:
    asked = ToolCall("t1", READ_TOOL, {"callId": "c", REASON_PARAMETER: "x"})
    assert _read(asked).reads[0].tool_call == asked


def test_it_is_shown_to_people_and_to_the_model_again() -> None:
    plan = _read(ToolCall("t1", "sales_query", {REASON_PARAMETER: "To see.", "sql": "select 1"}))
    row = object_from_json(
        to_json(reply_data(plan.reply, seen=1, selected_tools=plan.selected_tools))
    )
    assert public_data(row)["invocations"] == [
        {
            "id": "t1",
            "toolName": "sales_query",
            "input": {"sql": "select 1"},
            "reasoning": "To see.",
        }
    ]
    (_, said) = turns(
        [
            TranscriptEntry(1, MessageType.HUMAN, text_data("go")),
            TranscriptEntry(2, MessageType.AGENT, row),
        ]
    )
    assert isinstance(said, AssistantTurn)
    assert said.reply.calls[0].input == {REASON_PARAMETER: "To see.", "sql": "select 1"}


def test_a_tool_that_is_answered_at_once_is_no_call() -> None:
    plan = _read(ToolCall("t1", SEARCH_TOOL, {"query": "x"}))
    assert plan.answers == (ToolResult("t1", SEARCH_TOOL, "found"),)
    assert plan.calls == ()
    assert plan.output.answered


def test_an_unknown_function_is_answered_with_some_of_the_names_not_thousands() -> None:
    many = {f"s_{n:04}": replace(QUERY, tool=Tool(f"s_{n:04}", "", {})) for n in range(3_000)}
    plan = parse_reply(
        ModelResponse("", StopReason.CALLS, (ToolCall("t1", "nothing", {}),)),
        many,
        check_input=_check,
        check_result=None,
        parse=from_json,
    )
    assert "s_0000" in plan.answers[0].content
    assert len(plan.answers[0].content) < 1_000


def test_the_search_is_offered_only_where_there_is_something_to_find() -> None:
    names = [tool.name for tool in own_tools({}, wants_schema=False, searchable=True)]
    assert SEARCH_TOOL in names
    assert SEARCH_TOOL not in [tool.name for tool in own_tools({}, wants_schema=False)]


def test_the_clusters_context_stands_between_our_prompt_and_the_runs() -> None:
    prompt = system_prompt("Be brief.", wants_schema=False, cluster_context="We sell {boats}.")
    assert prompt.endswith("\n\nWe sell {boats}.\n\nBe brief.")
    assert "boats" not in system_prompt("Be brief.", wants_schema=False)
    long = system_prompt(None, wants_schema=False, cluster_context="x" * 10_000)
    assert long.count("x" * MAX_CONTEXT_CHARACTERS) == 1
    assert "x" * (MAX_CONTEXT_CHARACTERS + 1) not in long


def test_an_operators_note_stands_behind_the_description() -> None:
    assert with_function_note("Query.", "Slow on Mondays.") == "Query.\nSlow on Mondays."
    assert with_function_note("Query.", None) == "Query."
    assert with_function_note("", "Slow.") == "Slow."
    assert len(with_function_note("", "x" * 10_000)) == MAX_CONTEXT_CHARACTERS
