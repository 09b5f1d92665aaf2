"""The functions every cluster has, answered at once."""

from __future__ import annotations

import json

import pytest
from pydantic import JsonValue

from orchestrator.llm.builtin_tools import BUILT_IN_TOOLS, built_in_tools, run_built_in_tool
from orchestrator.llm.messages import ToolCall, ToolResult
from orchestrator.llm.prompts import CALCULATE_TOOL, OWN_TOOLS, TIME_TOOL
from orchestrator.schema import compile_schema

NOON = 1_790_424_000_123
"""Saturday, 2026-09-26, 12:00 UTC, and 123 ms."""


def _answer(name: str, value: JsonValue) -> ToolResult:
    return run_built_in_tool(ToolCall("t1", name, value), NOON)


def _time(value: JsonValue) -> dict[str, str]:
    answer = _answer(TIME_TOOL, value)
    assert not answer.is_error
    return dict(json.loads(answer.content))


@pytest.mark.parametrize("value", [{}, None, [], {"timeZone": None}, {"timeZone": "UTC"}])
def test_the_time_is_utc_unless_a_zone_is_asked_for(value: JsonValue) -> None:
    assert _time(value) == {
        "time": "2026-09-26T12:00:00.123+00:00",
        "weekday": "Saturday",
        "timeZone": "UTC",
    }


def test_a_zone_has_its_own_day() -> None:
    there = _time({"timeZone": "Pacific/Auckland"})
    assert there["time"] == "2026-09-27T00:00:00.123+12:00"
    assert there["weekday"] == "Sunday"


@pytest.mark.parametrize(
    "zone", ["Mars/Base", "../../etc/passwd", "/etc/passwd", "Europe", "", 7, "E" * 10_000, "a\0b"]
)
def test_a_zone_that_is_none_is_an_error_the_model_reads(zone: JsonValue) -> None:
    if zone == "":
        assert _time({"timeZone": zone})["timeZone"] == "UTC"
        return
    answer = _answer(TIME_TOOL, {"timeZone": zone})
    assert answer.is_error
    assert "IANA" in answer.content
    assert len(answer.content) < 200


def test_arithmetic_is_answered_in_digits() -> None:
    answer = _answer(CALCULATE_TOOL, {"expression": "19.99 * 3"})
    assert answer == ToolResult("t1", CALCULATE_TOOL, "59.97")


@pytest.mark.parametrize("value", [{}, None, {"expression": 3}, {"expression": "1/0"}])
def test_what_has_no_value_is_an_error_the_model_reads(value: JsonValue) -> None:
    assert _answer(CALCULATE_TOOL, value).is_error


def test_only_what_is_wanted_is_offered_in_one_order() -> None:
    assert [tool.name for tool in built_in_tools(BUILT_IN_TOOLS)] == [CALCULATE_TOOL, TIME_TOOL]
    assert [tool.name for tool in built_in_tools({TIME_TOOL, "sales_query"})] == [TIME_TOOL]
    assert built_in_tools(()) == ()


def test_the_schemas_are_schemas_and_the_names_are_reserved() -> None:
    for tool in built_in_tools(BUILT_IN_TOOLS):
        assert compile_schema(json.dumps(tool.schema)).problems({"unknown": 1})
        assert tool.name in OWN_TOOLS
