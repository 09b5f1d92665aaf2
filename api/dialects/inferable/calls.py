"""Operations on calls and blobs."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import cast

from fastapi import Response
from fastapi.exceptions import RequestValidationError

from api.context import services_of
from api.dialects.inferable.call_format import answered, handed, is_open, job_with_result
from api.dialects.inferable.run_format import DEFAULT_SERVICE
from api.dialects.inferable.translation import (
    Body,
    Operation,
    bad_request,
    nothing,
    object_of,
    read,
    reword,
)
from api.http.dialect import Question
from orchestrator.store.database.json_columns import from_json
from orchestrator.store.sealed_fields import open_contexts
from orchestrator.workflows.interface import RunRef
from perdure.contract import MAX_INLINE_RESULT

POLL_SECONDS = 20
"""How long a machine's question for calls is held. It asks again at once."""
_RUN_STATUSES = ("pending", "running", "paused", "done", "failed")
_REFERENCES = 100


# -- as a machine ----------------------------------------------------------------------------------


async def _poll_calls(question: Question) -> Response:
    asked = question.query
    status = asked.get("status", "pending")
    if status not in _RUN_STATUSES:
        raise _wrong_status(status)
    if not asked.get("acknowledge"):
        raise bad_request("not_served", "Calls are only handed out with acknowledge=true.")
    if status != "pending":
        return Response("[]", media_type="application/json", headers={"Retry-After": "1"})
    wanted: dict[str, object] = {**asked, "wait": asked.get("waitTime", POLL_SECONDS)}
    if asked.get("tools") and "service" not in asked:
        wanted |= {"service": DEFAULT_SERVICE, "functions": asked["tools"]}
    native = await question.put(query=wanted)
    return reword(native, [handed(call) for call in read(native)])


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


async def _post_result(question: Question) -> Response:
    """Take a result. What a request for an approval says to people stands in its notification in later versions."""
    body = await object_of(question)
    result = None if body is None else body.get("result")
    if body is None or body.get("resultType") != "interrupt" or not isinstance(result, dict):
        return await question.put()
    request = cast("Body", result)
    notification = request.get("notification")
    message = cast("Body", notification).get("message") if isinstance(notification, dict) else None
    if isinstance(message, str) and "message" not in request:
        request = {**request, "message": message}
    return await question.put(body={**body, "result": request})


async def _create_blob(question: Question) -> Response:
    """Keep a blob. Their `size` counts the characters of the base64 text, not the bytes."""
    body = await object_of(question)
    if body is None:
        return await question.put()
    return await question.put(body={name: body[name] for name in body if name != "size"})


# -- as a caller -----------------------------------------------------------------------------------


async def _create_call(question: Question) -> Response:
    wait = question.query.get("waitTime", "0")
    native = await question.put(query={"wait": wait})
    call: Body = read(native)
    said = answered({**call, "result": await _whole_result(question, call)})
    if float(wait) > 0 and is_open(call):
        why = "The call has no result yet. Its id finds it."
        late = {**said, "message": why, "code": "still_working", "error": {"message": why}}
        return reword(native, late, HTTPStatus.REQUEST_TIMEOUT)
    return reword(native, said, HTTPStatus.OK)


async def _get_call(question: Question) -> Response:
    native = await question.put(query={})
    call: Body = read(native)
    call["result"] = await _whole_result(question, call)
    ref = RunRef(question.request.path_params["clusterId"], call["runId"])
    run = await services_of(question.request).store.runs.get(ref)
    context, auth_context = open_contexts(services_of(question.request).store.database.cipher, run)
    contexts: Body = {"runContext": context, "authContext": auth_context}
    return reword(native, {**job_with_result(call), **contexts})


async def _whole_result(question: Question, call: Body) -> object:
    """The result, a long one too: here it has no address of its own."""
    if (call["resultSize"] or 0) <= MAX_INLINE_RESULT:
        return call["result"]
    queries = services_of(question.request).store.call_queries
    original = await queries.original(question.request.path_params["clusterId"], call["id"])
    return original.content if original.is_text else from_json(original.content)


async def _list_references(question: Question) -> Response:
    asked = question.query
    wanted: dict[str, object] = {"token": asked.get("token", ""), "limit": _REFERENCES}
    if before := asked.get("before"):
        wanted["before"] = _time(before)
    native = await question.put(query=wanted)
    return reword(native, [job_with_result(call) for call in read(native)["items"]])


def _time(text: str) -> str:
    """A time as ours are written; what is none is for the native route to refuse."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat()


async def _get_blob_data(question: Question) -> Response:
    native = await question.put()
    return Response(base64.b64encode(bytes(native.body)), media_type="text/plain; charset=us-ascii")


OPERATIONS: Mapping[str, Operation] = {
    "poll_calls": _poll_calls,
    "post_result": _post_result,
    "create_blob": _create_blob,
    "create_call": _create_call,
    "get_call": _get_call,
    "cancel_call": nothing,
    "decide_call": nothing,
    "list_references": _list_references,
    "get_blob_data": _get_blob_data,
}
