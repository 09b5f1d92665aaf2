"""Operations on machines, services and notes on functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

from fastapi import Response

from api.dialects.inferable.run_format import DEFAULT_SERVICE
from api.dialects.inferable.translation import (
    Body,
    Operation,
    all_pages,
    given,
    object_of,
    read,
    reword,
)
from api.http.dialect import Question

_MAX_TIMEOUT_SECONDS = 86_400
_MAX_RETRIES = 100
_MAX_TTL_SECONDS = 30 * 86_400


async def _register_machine(question: Question) -> Response:
    body = await object_of(question)
    if body is None:
        return await question.put()
    return await question.put(body=heard_registration(body))


def heard_registration(body: Body) -> Body:
    """A registration, with numbers that ours take. Tools and functions without a service are the default one's."""
    functions = body.get("functions") or body.get("tools")
    if not isinstance(functions, list) or not functions:
        return given(body)
    heard = [_heard_function(one) for one in cast("list[object]", functions)]
    return {**body, "service": body.get("service") or DEFAULT_SERVICE, "functions": heard}


def _heard_function(function: object) -> object:
    if not isinstance(function, dict):
        return function
    known = cast("Body", function)
    config = known.get("config")
    if isinstance(config, dict):
        return {**known, "config": _heard_config(cast("Body", config))}
    return known


def _heard_config(config: Body) -> Body:
    heard = given(config)
    seconds, retries = heard.pop("timeoutSeconds", None), heard.pop("retryCountOnStall", None)
    if isinstance(seconds, int | float) and seconds > 0:
        heard["timeoutSeconds"] = min(seconds, _MAX_TIMEOUT_SECONDS)
    if isinstance(retries, int | float) and retries >= 1:
        heard["retryCountOnStall"] = int(min(retries, _MAX_RETRIES))
    if isinstance(heard.get("cache"), dict):
        heard["cache"] = _heard_cache(cast("Body", heard["cache"]))
    return heard


def _heard_cache(cache: Body) -> Body:
    seconds = cache.get("ttlSeconds")
    if isinstance(seconds, int | float):
        return {**cache, "ttlSeconds": min(seconds, _MAX_TTL_SECONDS)}
    return cache


async def _list_services(question: Question) -> Response:
    native = await question.put()
    services = [
        {"name": one["name"], "functions": [_function(function) for function in one["functions"]]}
        for one in read(native)["items"]
    ]
    return reword(native, services)


def _function(function: Body) -> Body:
    """A schema is a text of JSON; what a function does not have is left out."""
    schema = function["schema"]
    config = cast("Body", function["config"] or {})
    text = None if schema is None else json.dumps(schema)
    return given({**function, "schema": text, "config": given(config)})


async def _list_machines(question: Question) -> Response:
    native, found = await all_pages(question)
    return reword(native, [_machine(one) for one in found])


def _machine(machine: Body) -> Body:
    """They know no machine that was never heard of, nor one without an address."""
    seen = machine["lastPingAt"] or machine["createdAt"]
    return {**machine, "lastPingAt": seen, "ip": machine["ip"] or ""}


async def _get_note(question: Question) -> Response:
    native = await question.put()
    note: Body = read(native)
    return reword(native, {"additionalContext": note["additionalContext"], "resultKeys": []})


OPERATIONS: Mapping[str, Operation] = {
    "register_machine": _register_machine,
    "list_services": _list_services,
    "list_machines": _list_machines,
    "get_function_note": _get_note,
}
