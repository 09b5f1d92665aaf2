"""The Inferable manner, operation by operation: its question in our words, our answer in its.

An operation that is not listed is answered natively, without what the client sent too much. Errors are put into
this manner by `inferable_errors`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, cast

from fastapi import Response
from fastapi.exceptions import RequestValidationError

from api.dialects import inferable_shapes as shapes
from api.dialects.inferable_shapes import Body
from api.dialects.question import Question
from api.errors import ApiError

POLL_SECONDS = 20
"""How long a machine's question for calls is held. It asks again at once."""
HOLD_SECONDS = 1
"""How long a question for a run is held that works: these clients ask every half second, and would learn of its end
that much too late."""
MAX_MESSAGES = 5_000
"""Of one conversation: it has no pages in this manner."""
_PAGE = 100
_RUN_STATUSES = ("pending", "running", "paused", "done", "failed")
_UNSERVED = ("configId", "config", "template")


async def answer(question: Question) -> Response:
    """The answer to a question in this manner. Raises what the native route raises."""
    operation = _OPERATIONS.get(question.route.operation_id or "")
    return await question.put() if operation is None else await operation(question)


def _reword(native: Response, value: object, status: int | None = None) -> Response:
    """The native answer with another body; what is to be done when it was sent is kept."""
    headers = {
        name: text for name, text in native.headers.items() if not name.startswith("content-")
    }
    return Response(
        json.dumps(value, separators=(",", ":")),
        native.status_code if status is None else status,
        headers,
        "application/json",
        native.background,
    )


def _read(native: Response) -> Any:
    return json.loads(bytes(native.body))


async def _object(question: Question) -> Body | None:
    """The body, where it is an object; anything else is for the native route to refuse."""
    body = await question.body()
    return cast("Body", body) if isinstance(body, dict) else None


# -- runs ------------------------------------------------------------------------------------------


async def _create_run(question: Question) -> Response:
    body = await _object(question)
    if body is None:
        return await question.put()
    _refuse_unserved(body)
    native = await question.put(body=shapes.heard_run(body))
    return _reword(native, {"id": _read(native)["id"]})


def _refuse_unserved(body: Body) -> None:
    """What would change the run's meaning must not be passed over in silence."""
    for name in _UNSERVED:
        if body.get(name) is not None:
            raise _bad_request("not_served", f"`{name}` is not served yet: send `initialPrompt`.")
    test = body.get("test")
    if isinstance(test, dict) and cast("Body", test).get("enabled"):
        raise _bad_request("not_served", "Test runs and mocks are not served yet.")
    if body.get("initialPrompt") in (None, ""):
        raise _bad_request(
            "invalid_request", "initialPrompt or configId is required to create a workflow"
        )


def _bad_request(code: str, detail: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, code, detail)


async def _get_run(question: Question) -> Response:
    native = await question.put(query={"wait": HOLD_SECONDS, "until": "final"})
    return _reword(native, shapes.run_of(_read(native)))


async def _change_run(question: Question) -> Response:
    native = await question.put()
    return _reword(native, shapes.run_of(_read(native)))


async def _list_runs(question: Question) -> Response:
    asked = question.query
    wanted: dict[str, object] = {"limit": asked.get("limit", 50)}
    if pair := asked.get("metadata"):
        key, _, value = pair.partition(":")
        key = key.replace("\\", "\\\\")
        wanted["metadata"] = f"{key}:{value}"
    native = await question.put(query=wanted)
    runs = [shapes.run_of(run) for run in _read(native)["items"]]
    return _reword(native, [run for run in runs if _is_wanted(run, asked)])


def _is_wanted(run: Body, asked: Mapping[str, str]) -> bool:
    """Nobody's run, no test and no configuration's: whoever asks for those finds none."""
    same = all(run[name] == asked[name] for name in ("userId", "configId") if name in asked)
    return same and run["test"] == (asked.get("test") == "true")


# -- messages --------------------------------------------------------------------------------------


async def _list_messages(question: Question) -> Response:
    found: list[Body] = []
    page: dict[str, object] = {"limit": _PAGE}
    while True:
        native = await question.put(query=page)
        read = _read(native)
        found += read["items"]
        if read["nextCursor"] is None or len(found) >= MAX_MESSAGES:
            return _reword(native, shapes.messages_of(found))
        page["cursor"] = read["nextCursor"]


async def _create_message(question: Question) -> Response:
    native = await question.put()
    return Response(status_code=native.status_code)


# -- function workers ------------------------------------------------------------------------------


async def _list_services(question: Question) -> Response:
    native = await question.put()
    return _reword(native, shapes.services_of(_read(native)))


async def _register_machine(question: Question) -> Response:
    body = await _object(question)
    if body is None:
        return await question.put()
    return await question.put(body=shapes.heard_registration(body))


async def _poll_calls(question: Question) -> Response:
    asked = question.query
    status = asked.get("status", "pending")
    if status not in _RUN_STATUSES:
        raise _wrong_status(status)
    if not asked.get("acknowledge"):
        raise _bad_request("not_served", "Calls are only handed out with acknowledge=true.")
    if status != "pending":
        return Response("[]", media_type="application/json", headers={"Retry-After": "1"})
    native = await question.put(query={**asked, "wait": POLL_SECONDS})
    return _reword(native, [shapes.call_of(call) for call in _read(native)])


def _wrong_status(status: str) -> RequestValidationError:
    allowed = " | ".join(f"'{one}'" for one in _RUN_STATUSES)
    return RequestValidationError(
        [
            {
                "type": "enum",
                "loc": ("query", "status"),
                "msg": f"Invalid enum value. Expected {allowed}",
                "input": status,
            }
        ]
    )


async def _decide_call(question: Question) -> Response:
    await question.put()
    return Response(status_code=HTTPStatus.NO_CONTENT)


_OPERATIONS: Mapping[str, Callable[[Question], Awaitable[Response]]] = {
    "create_run": _create_run,
    "get_run": _get_run,
    "list_runs": _list_runs,
    "cancel_run": _change_run,
    "resume_run": _change_run,
    "list_messages": _list_messages,
    "create_message": _create_message,
    "list_services": _list_services,
    "register_machine": _register_machine,
    "poll_calls": _poll_calls,
    "decide_call": _decide_call,
}
