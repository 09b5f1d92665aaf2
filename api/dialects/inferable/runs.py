"""Operations on runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import cast

from fastapi import Response

from api.context import services_of
from api.dialects.inferable.run_format import DEFAULT_SERVICE, heard_run, run_of, status_of
from api.dialects.inferable.translation import Body, Operation, nothing, object_of, read, reword
from api.http.dialect import Question
from orchestrator.llm.model_names import resolve_model

HOLD_SECONDS = 1
"""How long a question for a run is held that works: these clients ask every half second, and would learn of its end
that much too late."""
_MODEL_HEADER = "x-provider-model"
_CONFIG_ID = re.compile(r"[A-Za-z0-9\-_]{6,128}")


async def _create_run(question: Question) -> Response:
    body = await object_of(question)
    if body is None:
        return await question.put()
    heard = heard_run(body)
    if heard.get("tools") is not None and heard.get("attachedFunctions") is None:
        heard["attachedFunctions"] = await _tools(question, heard["tools"])
    if heard.get("model") is None:
        heard["model"] = _model_of(question)
    native = await question.put(body=heard)
    run = read(native)
    said = {"id": run["id"], "status": status_of(run["status"]), "result": run["result"]}
    return reword(native, said, HTTPStatus.CREATED)


async def _tools(question: Question, names: object) -> object:
    """Functions by one name each: of the default service, else a full name, `service_function`."""
    if not isinstance(names, list):
        return names
    store = services_of(question.request).store
    functions = await store.functions.all_of(question.request.path_params["clusterId"])
    known = {one.name for one in functions if one.service == DEFAULT_SERVICE}
    return [
        {"service": DEFAULT_SERVICE, "function": name} if name in known else name
        for name in cast("list[object]", names)
    ]


def _model_of(question: Question) -> str | None:
    """The model that the header names, where it is one of ours."""
    name = question.request.headers.get(_MODEL_HEADER, "").strip()
    try:
        return str(resolve_model(name)) if name else None
    except ValueError:
        return None


async def _get_run(question: Question) -> Response:
    native = await question.put(query={"wait": HOLD_SECONDS, "until": "final"})
    return reword(native, run_of(read(native)))


async def _change_run(question: Question) -> Response:
    native = await question.put()
    return reword(native, run_of(read(native)))


async def _list_runs(question: Question) -> Response:
    asked = question.query
    wanted: dict[str, object] = {
        "limit": asked.get("limit", 50),
        "test": "true" if asked.get("test") == "true" else "false",
    }
    if pair := asked.get("metadata") or asked.get("tags"):
        key, _, value = pair.partition(":")
        key = key.replace("\\", "\\\\")
        wanted["metadata"] = f"{key}:{value}"
    config_id = asked.get("configId", "")
    known = _CONFIG_ID.fullmatch(config_id) is not None
    if known:
        wanted["configId"] = config_id
    native = await question.put(query=wanted)
    if asked.get("userId") or (
        config_id and not known
    ):  # runs are nobody's, nor of no configuration
        return reword(native, list[Body]())
    return reword(native, [run_of(run) for run in read(native)["items"]])


OPERATIONS: Mapping[str, Operation] = {
    "create_run": _create_run,
    "get_run": _get_run,
    "list_runs": _list_runs,
    "cancel_run": _change_run,
    "resume_run": _change_run,
    "retry_run": nothing,
}
