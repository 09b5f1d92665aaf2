"""Operations on run configurations, and structured output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from fastapi import Response

from api.context import services_of
from api.dialects.inferable.translation import Body, Operation, all_pages, object_of, read, reword
from api.http.dialect import Question
from orchestrator.errors import NotFoundError
from orchestrator.store.database.json_columns import object_from_json

_TEXTS = frozenset({"initialPrompt", "systemPrompt"})
_ANY_OBJECT = {"type": "object"}
"""What they ask for who ask without a schema."""


def heard_config(body: Body) -> Body:
    """A run configuration. What they leave empty, functions too, the request for a run may say."""
    return {
        name: None if (name in _TEXTS and value == "") or _is_no_list(name, value) else value
        for name, value in body.items()
    }


def _is_no_list(name: str, value: object) -> bool:
    return name == "attachedFunctions" and value == []


def config_of(config: Body) -> Body:
    """A run configuration. Functions are named `service_function`."""
    attached = cast("Sequence[Mapping[str, str] | str]", config["attachedFunctions"] or ())
    names = [
        one if isinstance(one, str) else f"{one['service']}_{one['function']}" for one in attached
    ]
    said = {**config, "attachedFunctions": names}
    if "versions" in config:
        said["versions"] = [config_of(version) for version in config["versions"] or ()]
    return said


async def _create(question: Question) -> Response:
    body = await object_of(question)
    if body is None:
        return await question.put()
    native = await question.put(body=heard_config(body))
    return reword(native, {"id": read(native)["id"]})


async def _put(question: Question) -> Response:
    """Fields that are left out stay as they are; an unknown id is a new configuration."""
    body = await object_of(question)
    if body is None:
        return await question.put()
    native = await question.put(body={**await _kept(question), **heard_config(body)})
    return reword(native, config_of(read(native)))


async def _kept(question: Question) -> Body:
    path = question.request.path_params
    store = services_of(question.request).store
    try:
        record = await store.run_configs.get(path["clusterId"], path["configId"])
    except NotFoundError:
        return {"name": path["configId"]}
    return object_from_json(record.content)


async def _get(question: Question) -> Response:
    native = await question.put()
    return reword(native, config_of(read(native)))


async def _list(question: Question) -> Response:
    native, found = await all_pages(question)
    return reword(native, [config_of(one) for one in found])


async def _search(question: Question) -> Response:
    native = await question.put()
    return reword(native, [config_of(one) for one in read(native)["items"]])


async def _metrics(question: Question) -> Response:
    native = await question.put()
    return reword(native, [_metric(one) for one in read(native)["items"]])


def _metric(run: Body) -> Body:
    return {
        "createdAt": run["createdAt"],
        "feedbackScore": run["feedbackScore"],
        "jobCount": run["callCount"],
        "jobFailureCount": run["callFailureCount"],
        "timeToCompletion": run["timeToCompletion"],
    }


async def _create_structured_output(question: Question) -> Response:
    body = await object_of(question)
    if body is None:
        return await question.put()
    schema = body.get("resultSchema")
    asked = {**body, "resultSchema": _ANY_OBJECT if schema is None else schema}
    return await question.put(body=asked)


OPERATIONS: Mapping[str, Operation] = {
    "create_run_config": _create,
    "put_run_config": _put,
    "get_run_config": _get,
    "list_run_configs": _list,
    "search_run_configs": _search,
    "get_run_config_metrics": _metrics,
    "create_structured_output": _create_structured_output,
}
