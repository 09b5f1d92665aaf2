"""Functions that every cluster has: the current time, and arithmetic. Answered at once, without a function worker."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from zoneinfo import ZoneInfo

from pydantic import JsonValue

from orchestrator.llm.calculator import MAX_EXPRESSION_CHARACTERS, CalculationError, calculate
from orchestrator.llm.messages import Tool, ToolCall, ToolResult
from orchestrator.llm.prompts import CALCULATE_TOOL, TIME_TOOL
from orchestrator.runtime.clock import to_datetime

MAX_ZONE_CHARACTERS = 64
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

_TOOLS = (
    Tool(
        CALCULATE_TOOL,
        "Work out an arithmetic expression exactly: numbers, + - * / // % **, parentheses, and abs, ceil, floor, "
        "max, min, round, sqrt, sum. round(x, digits) rounds a half away from zero.",
        {
            "type": "object",
            "properties": {
                "expression": {
                    "type": "string",
                    "maxLength": MAX_EXPRESSION_CHARACTERS,
                    "description": "For example (19.99 * 3 - 5) / 1.19",
                }
            },
            "required": ["expression"],
            "additionalProperties": False,
        },
    ),
    Tool(
        TIME_TOOL,
        "What time it is now: date, time and weekday.",
        {
            "type": "object",
            "properties": {
                "timeZone": {
                    "type": "string",
                    "maxLength": MAX_ZONE_CHARACTERS,
                    "default": "UTC",
                    "description": "An IANA time zone, for example Europe/Berlin.",
                }
            },
            "additionalProperties": False,
        },
    ),
)

BUILT_IN_TOOLS = frozenset(tool.name for tool in _TOOLS)
"""Names of the functions, as the model knows them and as a run attaches them."""


def built_in_tools(wanted: Collection[str]) -> tuple[Tool, ...]:
    """The tools of these names, always in the same order."""
    return tuple(tool for tool in _TOOLS if tool.name in wanted)


def run_built_in_tool(call: ToolCall, now: int) -> ToolResult:
    """Answer a call of one of the functions; `now` in ms. An invalid call gets an error that the model reads."""
    values: Mapping[str, JsonValue] = call.input if isinstance(call.input, dict) else {}
    try:
        content = _ANSWERS[call.name](values, now)
    except ValueError as error:
        return ToolResult(call.id, call.name, str(error), is_error=True)
    return ToolResult(call.id, call.name, content)


def _calculate(values: Mapping[str, JsonValue], _now: int) -> str:
    expression = values.get("expression")
    if not isinstance(expression, str):
        raise ValueError("expression must be a string, for example (2 + 3) * 4.")  # noqa: TRY004 - the input's fault
    try:
        return calculate(expression)
    except CalculationError as error:
        raise ValueError(str(error)) from None


def _current_time(values: Mapping[str, JsonValue], now: int) -> str:
    name = values.get("timeZone") or "UTC"
    moment = to_datetime(now).astimezone(_zone(name))
    return json.dumps(
        {
            "time": moment.isoformat(timespec="milliseconds"),
            "weekday": _WEEKDAYS[moment.weekday()],
            "timeZone": name,
        }
    )


def _zone(name: JsonValue) -> ZoneInfo:
    try:
        if isinstance(name, str) and len(name) <= MAX_ZONE_CHARACTERS:
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass  # not a zone, not a name of one, the name of a folder of zones
    shown = str(name)[:MAX_ZONE_CHARACTERS]
    raise ValueError(
        f"There is no time zone {shown!r}. Give an IANA name, for example Europe/Berlin."
    )


_ANSWERS: Mapping[str, Callable[[Mapping[str, JsonValue], int], str]] = MappingProxyType(
    {CALCULATE_TOOL: _calculate, TIME_TOOL: _current_time}
)
