"""Messages in Inferable's format. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import cast

from api.dialects.inferable.translation import Body
from orchestrator.llm.prompts import GIVE_UP_TOOL, RESULT_TOOL

_CLOSING_TOOLS = frozenset({RESULT_TOOL, GIVE_UP_TOOL})


def format_messages(messages: Sequence[Body]) -> list[Body]:
    """A conversation. Corrections and corrected replies are omitted."""
    refused = {
        message["data"]["id"]
        for message in messages
        if _answers_final_call(message) and message["data"]["resultType"] == "rejection"
    }
    formatted: list[Body] = []
    for message in messages:
        data = (
            None
            if _answers_final_call(message)
            else _format_data(message["type"], message["data"], refused)
        )
        if data is not None:
            added = {"pending": False, "displayableContext": None, "metadata": None}
            formatted.append({**message, **added, "data": data})
    return formatted


def _answers_final_call(message: Body) -> bool:
    """Whether it is the server's response to the model's result."""
    return message["type"] == "invocation-result" and message["data"]["toolName"] in _CLOSING_TOOLS


def _format_data(kind: str, data: Body, refused: set[str]) -> Body | None:
    if kind == "agent":
        return _format_agent_data(data, refused)
    if kind == "invocation-result":
        return _format_result_data(data)
    return None if kind == "supervisor" else data


def _format_agent_data(data: Body, refused: set[str]) -> Body | None:
    """The native model returns its result by a tool; in Inferable's format a message says that it is done."""
    tool_calls: list[Body] = data.get("invocations", [])
    formatted: Body = {"message": data["message"]} if "message" in data else {}
    if calls := [call for call in tool_calls if call["toolName"] not in _CLOSING_TOOLS]:
        formatted["invocations"] = calls
    closing = next((call for call in tool_calls if call["toolName"] in _CLOSING_TOOLS), None)
    if closing is None:
        return formatted if tool_calls else {**formatted, "done": True}
    if closing["id"] in refused:
        return formatted or None
    return {**formatted, "done": True, **_format_final_call(closing)}


def _format_final_call(closing: Body) -> Body:
    arguments = cast("Body", closing["input"]) if isinstance(closing["input"], dict) else {}
    if closing["toolName"] == GIVE_UP_TOOL:
        return {"issue": arguments.get("reason")}
    return {"result": arguments.get("result")}


def _format_result_data(data: Body) -> Body:
    return {
        "id": data["id"],
        "result": {
            "result": _parse_value(data["result"]),
            "resultType": data["resultType"],
            "status": "success",
        },
    }


def _parse_value(text: str) -> object:
    """The value that the model received, parsed if it is JSON; otherwise its text."""
    try:
        return cast("object", json.loads(text))
    except (ValueError, RecursionError):
        return text
