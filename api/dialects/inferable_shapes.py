"""Bodies of the Inferable manner: what its clients send, in our words, and what we say, in theirs.

Pure. More keys than theirs are allowed in every answer; a status that they do not know is not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from orchestrator.prompts import GIVE_UP_TOOL, RESULT_TOOL

Body = dict[str, Any]

_CLOSING_TOOLS = frozenset({RESULT_TOOL, GIVE_UP_TOOL})
_MAX_TIMEOUT_SECONDS = 86_400
_MAX_RETRIES = 100
_NOT_IN_A_RUN: Mapping[str, bool | None] = {
    "userId": None,
    "test": False,
    "feedbackComment": None,
    "feedbackScore": None,
    "debug": False,
    "authContext": None,
    "configId": None,
    "configVersion": None,
}
"""What their runs have and ours do not."""


def status_of(status: str) -> str:
    """Their five statuses: a cancelled run shows as failed, with the reason."""
    return "failed" if status == "cancelled" else status


def run_of(run: Body) -> Body:
    """A run. Functions are named `service_function`."""
    attached = cast("Sequence[Mapping[str, str]] | None", run["attachedFunctions"])
    return {
        **_NOT_IN_A_RUN,
        **run,
        "status": status_of(run["status"]),
        "attachedFunctions": attached
        and [f"{one['service']}_{one['function']}" for one in attached],
    }


def services_of(page: Body) -> list[Body]:
    """Services. A schema is a string of JSON; what a function does not have is left out."""
    return [
        {"name": service["name"], "functions": [_function(one) for one in service["functions"]]}
        for service in page["items"]
    ]


def _function(function: Body) -> Body:
    schema = function["schema"]
    config = cast("Body", function["config"] or {})
    text = None if schema is None else json.dumps(schema)
    return _given({**function, "schema": text, "config": _given(config)})


def _given(fields: Body) -> Body:
    return {name: value for name, value in fields.items() if value is not None}


def call_of(call: Body) -> Body:
    """A call. A handler is told of a status change in their statuses."""
    if not call["handler"]:
        return call
    change = call["input"]
    return {**call, "input": {**change, "status": status_of(change["status"])}}


# -- messages --------------------------------------------------------------------------------------


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


# -- what they send --------------------------------------------------------------------------------


def heard_run(body: Body) -> Body:
    """A request for a run. Texts that were left empty are texts that were left out."""
    return {
        name: value
        for name, value in body.items()
        if value != "" or name not in {"name", "systemPrompt", "model"}
    }


def heard_registration(body: Body) -> Body:
    """A registration, with numbers that ours take."""
    functions = body.get("functions")
    if not isinstance(functions, list):
        return _given(body)
    heard = [_heard_function(one) for one in cast("list[object]", functions)]
    return {**body, "functions": heard}


def _heard_function(function: object) -> object:
    if not isinstance(function, dict):
        return function
    known = cast("Body", function)
    config = known.get("config")
    if isinstance(config, dict):
        return {**known, "config": _heard_config(cast("Body", config))}
    return known


def _heard_config(config: Body) -> Body:
    heard = _given(config)
    seconds, retries = heard.pop("timeoutSeconds", None), heard.pop("retryCountOnStall", None)
    if isinstance(seconds, int | float) and seconds > 0:
        heard["timeoutSeconds"] = min(seconds, _MAX_TIMEOUT_SECONDS)
    if isinstance(retries, int | float) and retries >= 1:
        heard["retryCountOnStall"] = int(min(retries, _MAX_RETRIES))
    return heard
