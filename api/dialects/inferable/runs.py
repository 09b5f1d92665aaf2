"""Operations on runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import cast

from fastapi import Response

from api.context import services_of
from api.dialects.inferable.run_format import DEFAULT_SERVICE, format_run, format_status, parse_run
from api.dialects.inferable.translation import (
    Body,
    Operation,
    read_body,
    read_object,
    with_body,
    without_body,
)
from api.http.dialect import DialectRequest
from orchestrator.llm.model_names import resolve_model

LONG_POLL_SECONDS = 1
"""Seconds that a read of a running run waits. These clients poll every half second, and would learn of its end
that much late."""
_MODEL_HEADER = "x-provider-model"
_CONFIG_ID = re.compile(r"[A-Za-z0-9\-_]{6,128}")


async def _create_run(request: DialectRequest) -> Response:
    body = await read_object(request)
    if body is None:
        return await request.call_native()
    run_request = parse_run(body)
    if run_request.get("tools") is not None and run_request.get("attachedFunctions") is None:
        run_request["attachedFunctions"] = await _tools(request, run_request["tools"])
    if run_request.get("model") is None:
        run_request["model"] = _model_of(request)
    native = await request.call_native(body=run_request)
    run = read_body(native)
    body_out = {"id": run["id"], "status": format_status(run["status"]), "result": run["result"]}
    return with_body(native, body_out, HTTPStatus.CREATED)


async def _tools(request: DialectRequest, names: object) -> object:
    """Functions by name: of the default service, otherwise a full name, `service_function`."""
    if not isinstance(names, list):
        return names
    store = services_of(request.request).store
    functions = await store.functions.all_of(request.request.path_params["clusterId"])
    known = {one.name for one in functions if one.service == DEFAULT_SERVICE}
    return [
        {"service": DEFAULT_SERVICE, "function": name} if name in known else name
        for name in cast("list[object]", names)
    ]


def _model_of(request: DialectRequest) -> str | None:
    """The model that the header names, if it is known."""
    name = request.request.headers.get(_MODEL_HEADER, "").strip()
    try:
        return str(resolve_model(name)) if name else None
    except ValueError:
        return None


async def _get_run(request: DialectRequest) -> Response:
    native = await request.call_native(query={"wait": LONG_POLL_SECONDS, "until": "final"})
    return with_body(native, format_run(read_body(native)))


async def _change_run(request: DialectRequest) -> Response:
    native = await request.call_native()
    return with_body(native, format_run(read_body(native)))


async def _list_runs(request: DialectRequest) -> Response:
    query = request.query
    wanted: dict[str, object] = {
        "limit": query.get("limit", 50),
        "test": "true" if query.get("test") == "true" else "false",
    }
    if pair := query.get("metadata") or query.get("tags"):
        key, _, value = pair.partition(":")
        key = key.replace("\\", "\\\\")
        wanted["metadata"] = f"{key}:{value}"
    config_id = query.get("configId", "")
    known = _CONFIG_ID.fullmatch(config_id) is not None
    if known:
        wanted["configId"] = config_id
    native = await request.call_native(query=wanted)
    if query.get("userId") or (
        config_id and not known
    ):  # filters for runs without a user or configuration match none
        return with_body(native, list[Body]())
    return with_body(native, [format_run(run) for run in read_body(native)["items"]])


OPERATIONS: Mapping[str, Operation] = {
    "create_run": _create_run,
    "get_run": _get_run,
    "list_runs": _list_runs,
    "cancel_run": _change_run,
    "resume_run": _change_run,
    "retry_run": without_body,
}
