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
from api.dialects.inferable.call_format import (
    format_direct_call,
    format_job_with_result,
    format_leased_call,
    is_open,
)
from api.dialects.inferable.run_format import DEFAULT_SERVICE
from api.dialects.inferable.translation import (
    Body,
    Operation,
    bad_request,
    read_body,
    read_object,
    with_body,
    without_body,
)
from api.http.dialect import DialectRequest
from orchestrator.store.database.json_columns import from_json
from orchestrator.store.sealed_fields import open_contexts
from orchestrator.workflows.interface import RunRef
from perdure.contract import MAX_INLINE_RESULT

POLL_SECONDS = 20
"""Seconds that a poll for calls waits. The machine polls again at once."""
_RUN_STATUSES = ("pending", "running", "paused", "done", "failed")
_REFERENCES = 100


# -- as a machine ----------------------------------------------------------------------------------


async def _poll_calls(request: DialectRequest) -> Response:
    query = request.query
    status = query.get("status", "pending")
    if status not in _RUN_STATUSES:
        raise _wrong_status(status)
    if not query.get("acknowledge"):
        raise bad_request("not_served", "Calls are only leased with acknowledge=true.")
    if status != "pending":
        return Response("[]", media_type="application/json", headers={"Retry-After": "1"})
    wanted: dict[str, object] = {**query, "wait": query.get("waitTime", POLL_SECONDS)}
    if query.get("tools") and "service" not in query:
        wanted |= {"service": DEFAULT_SERVICE, "functions": query["tools"]}
    native = await request.call_native(query=wanted)
    return with_body(native, [format_leased_call(call) for call in read_body(native)])


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


async def _post_result(request: DialectRequest) -> Response:
    """Accept a result. Later versions put the message of an approval request into its notification."""
    body = await read_object(request)
    result = None if body is None else body.get("result")
    if body is None or body.get("resultType") != "interrupt" or not isinstance(result, dict):
        return await request.call_native()
    approval_request = cast("Body", result)
    notification = approval_request.get("notification")
    message = cast("Body", notification).get("message") if isinstance(notification, dict) else None
    if isinstance(message, str) and "message" not in approval_request:
        approval_request = {**approval_request, "message": message}
    return await request.call_native(body={**body, "result": approval_request})


async def _create_blob(request: DialectRequest) -> Response:
    """Store a blob. Inferable's `size` counts the characters of the base64 text, not the bytes."""
    body = await read_object(request)
    if body is None:
        return await request.call_native()
    return await request.call_native(body={name: body[name] for name in body if name != "size"})


# -- as a caller -----------------------------------------------------------------------------------


async def _create_call(request: DialectRequest) -> Response:
    wait = request.query.get("waitTime", "0")
    native = await request.call_native(query={"wait": wait})
    call: Body = read_body(native)
    body = format_direct_call({**call, "result": await _whole_result(request, call)})
    if float(wait) > 0 and is_open(call):
        message = "The call has no result yet. Read it by its id."
        late = {**body, "message": message, "code": "still_working", "error": {"message": message}}
        return with_body(native, late, HTTPStatus.REQUEST_TIMEOUT)
    return with_body(native, body, HTTPStatus.OK)


async def _get_call(request: DialectRequest) -> Response:
    native = await request.call_native(query={})
    call: Body = read_body(native)
    call["result"] = await _whole_result(request, call)
    ref = RunRef(request.request.path_params["clusterId"], call["runId"])
    run = await services_of(request.request).store.runs.get(ref)
    context, auth_context = open_contexts(services_of(request.request).store.database.cipher, run)
    contexts: Body = {"runContext": context, "authContext": auth_context}
    return with_body(native, {**format_job_with_result(call), **contexts})


async def _whole_result(request: DialectRequest, call: Body) -> object:
    """The complete result, even if it is long: this dialect has no separate path for it."""
    if (call["resultSize"] or 0) <= MAX_INLINE_RESULT:
        return call["result"]
    queries = services_of(request.request).store.call_queries
    original = await queries.original(request.request.path_params["clusterId"], call["id"])
    return original.content if original.is_text else from_json(original.content)


async def _list_references(request: DialectRequest) -> Response:
    query = request.query
    wanted: dict[str, object] = {"token": query.get("token", ""), "limit": _REFERENCES}
    if before := query.get("before"):
        wanted["before"] = _format_time(before)
    native = await request.call_native(query=wanted)
    return with_body(native, [format_job_with_result(call) for call in read_body(native)["items"]])


def _format_time(text: str) -> str:
    """A time in the native format; the native route refuses an invalid one."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat()


async def _get_blob_data(request: DialectRequest) -> Response:
    native = await request.call_native()
    return Response(base64.b64encode(bytes(native.body)), media_type="text/plain; charset=us-ascii")


OPERATIONS: Mapping[str, Operation] = {
    "poll_calls": _poll_calls,
    "post_result": _post_result,
    "create_blob": _create_blob,
    "create_call": _create_call,
    "get_call": _get_call,
    "cancel_call": without_body,
    "decide_call": without_body,
    "list_references": _list_references,
    "get_blob_data": _get_blob_data,
}
