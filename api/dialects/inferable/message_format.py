"""Messages, as these clients read them. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import cast

from api.dialects.inferable.translation import Body
from orchestrator.llm.prompts import GIVE_UP_TOOL, RESULT_TOOL

_CLOSING_TOOLS = frozenset({RESULT_TOOL, GIVE_UP_TOOL})


def messages_of(messages: Sequence[Body]) -> list[Body]:
    """A conversation. Corrections, and replies that were sent back, are not shown."""
    refused = {
        message["data"]["id"]
        for message in messages
        if _closes(message) and message["data"]["resultType"] == "rejection"
    }
    shown: list[Body] = []
    for message in messages:
        data = None if _closes(message) else _data_of(message["type"], message["data"], refused)
        if data is not None:
            added = {"pending": False, "displayableContext": None, "metadata": None}
            shown.append({**message, **added, "data": data})
    return shown


def _closes(message: Body) -> bool:
    """Whether it is our word to the model on its result."""
    return message["type"] == "invocation-result" and message["data"]["toolName"] in _CLOSING_TOOLS


def _data_of(kind: str, data: Body, refused: set[str]) -> Body | None:
    if kind == "agent":
        return _agent_data(data, refused)
    if kind == "invocation-result":
        return _result_data(data)
    return None if kind == "supervisor" else data


def _agent_data(data: Body, refused: set[str]) -> Body | None:
    """Our model gives its result by a tool; theirs says that it is done."""
    asked: list[Body] = data.get("invocations", [])
    said: Body = {"message": data["message"]} if "message" in data else {}
    if calls := [call for call in asked if call["toolName"] not in _CLOSING_TOOLS]:
        said["invocations"] = calls
    closing = next((call for call in asked if call["toolName"] in _CLOSING_TOOLS), None)
    if closing is None:
        return said if asked else {**said, "done": True}
    if closing["id"] in refused:
        return said or None
    return {**said, "done": True, **_last_word(closing)}


def _last_word(closing: Body) -> Body:
    given = cast("Body", closing["input"]) if isinstance(closing["input"], dict) else {}
    if closing["toolName"] == GIVE_UP_TOOL:
        return {"issue": given.get("reason")}
    return {"result": given.get("result")}


def _result_data(data: Body) -> Body:
    return {
        "id": data["id"],
        "result": {
            "result": _value_in(data["result"]),
            "resultType": data["resultType"],
            "status": "success",
        },
    }


def _value_in(text: str) -> object:
    """The value that a function returned, where what the model was shown of it is JSON; else those words."""
    try:
        return cast("object", json.loads(text))
    except (ValueError, RecursionError):
        return text
