"""Operations on run configurations, and structured output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from fastapi import Response

from api.context import services_of
from api.dialects.inferable.translation import (
    Body,
    Operation,
    all_pages,
    read_body,
    read_object,
    with_body,
)
from api.http.dialect import DialectRequest
from orchestrator.errors import NotFoundError
from orchestrator.store.database.json_columns import object_from_json

_TEXTS = frozenset({"initialPrompt", "systemPrompt"})
_ANY_OBJECT = {"type": "object"}
"""The schema of a request without one."""


def parse_config(body: Body) -> Body:
    """A run configuration. Empty fields, functions included, are left to the request for a run."""
    return {
        name: None if (name in _TEXTS and value == "") or _is_no_list(name, value) else value
        for name, value in body.items()
    }


def _is_no_list(name: str, value: object) -> bool:
    return name == "attachedFunctions" and value == []


def format_config(config: Body) -> Body:
    """A run configuration. Functions are named `service_function`."""
    attached = cast("Sequence[Mapping[str, str] | str]", config["attachedFunctions"] or ())
    names = [
        one if isinstance(one, str) else f"{one['service']}_{one['function']}" for one in attached
    ]
    formatted = {**config, "attachedFunctions": names}
    if "versions" in config:
        formatted["versions"] = [format_config(version) for version in config["versions"] or ()]
    return formatted


async def _create(request: DialectRequest) -> Response:
    body = await read_object(request)
    if body is None:
        return await request.call_native()
    native = await request.call_native(body=parse_config(body))
    return with_body(native, {"id": read_body(native)["id"]})


async def _put(request: DialectRequest) -> Response:
    """Omitted fields are unchanged; an unknown id creates a configuration."""
    body = await read_object(request)
    if body is None:
        return await request.call_native()
    native = await request.call_native(body={**await _stored_config(request), **parse_config(body)})
    return with_body(native, format_config(read_body(native)))


async def _stored_config(request: DialectRequest) -> Body:
    path = request.request.path_params
    store = services_of(request.request).store
    try:
        record = await store.run_configs.get(path["clusterId"], path["configId"])
    except NotFoundError:
        return {"name": path["configId"]}
    return object_from_json(record.content)


async def _get(request: DialectRequest) -> Response:
    native = await request.call_native()
    return with_body(native, format_config(read_body(native)))


async def _list(request: DialectRequest) -> Response:
    native, found = await all_pages(request)
    return with_body(native, [format_config(one) for one in found])


async def _search(request: DialectRequest) -> Response:
    native = await request.call_native()
    return with_body(native, [format_config(one) for one in read_body(native)["items"]])


async def _metrics(request: DialectRequest) -> Response:
    native = await request.call_native()
    return with_body(native, [_format_metric(one) for one in read_body(native)["items"]])


def _format_metric(run: Body) -> Body:
    return {
        "createdAt": run["createdAt"],
        "feedbackScore": run["feedbackScore"],
        "jobCount": run["callCount"],
        "jobFailureCount": run["callFailureCount"],
        "timeToCompletion": run["timeToCompletion"],
    }


async def _create_structured_output(request: DialectRequest) -> Response:
    body = await read_object(request)
    if body is None:
        return await request.call_native()
    schema = body.get("resultSchema")
    request_body = {**body, "resultSchema": _ANY_OBJECT if schema is None else schema}
    return await request.call_native(body=request_body)


OPERATIONS: Mapping[str, Operation] = {
    "create_run_config": _create,
    "put_run_config": _put,
    "get_run_config": _get,
    "list_run_configs": _list,
    "search_run_configs": _search,
    "get_run_config_metrics": _metrics,
    "create_structured_output": _create_structured_output,
}
