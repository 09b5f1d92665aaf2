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
    read_body,
    read_object,
    with_body,
    without_nulls,
)
from api.http.dialect import DialectRequest

_MAX_TIMEOUT_SECONDS = 86_400
_MAX_RETRIES = 100
_MAX_TTL_SECONDS = 30 * 86_400


async def _register_machine(request: DialectRequest) -> Response:
    body = await read_object(request)
    if body is None:
        return await request.call_native()
    return await request.call_native(body=parse_registration(body))


def parse_registration(body: Body) -> Body:
    """A registration with native numbers. Tools and functions without a service belong to the default one."""
    functions = body.get("functions") or body.get("tools")
    if not isinstance(functions, list) or not functions:
        return without_nulls(body)
    parsed = [_parse_function(one) for one in cast("list[object]", functions)]
    return {**body, "service": body.get("service") or DEFAULT_SERVICE, "functions": parsed}


def _parse_function(function: object) -> object:
    if not isinstance(function, dict):
        return function
    known = cast("Body", function)
    config = known.get("config")
    if isinstance(config, dict):
        return {**known, "config": _parse_function_config(cast("Body", config))}
    return known


def _parse_function_config(config: Body) -> Body:
    parsed = without_nulls(config)
    seconds, retries = parsed.pop("timeoutSeconds", None), parsed.pop("retryCountOnStall", None)
    if isinstance(seconds, int | float) and seconds > 0:
        parsed["timeoutSeconds"] = min(seconds, _MAX_TIMEOUT_SECONDS)
    if isinstance(retries, int | float) and retries >= 1:
        parsed["retryCountOnStall"] = int(min(retries, _MAX_RETRIES))
    if isinstance(parsed.get("cache"), dict):
        parsed["cache"] = _parse_cache(cast("Body", parsed["cache"]))
    return parsed


def _parse_cache(cache: Body) -> Body:
    seconds = cache.get("ttlSeconds")
    if isinstance(seconds, int | float):
        return {**cache, "ttlSeconds": min(seconds, _MAX_TTL_SECONDS)}
    return cache


async def _list_services(request: DialectRequest) -> Response:
    native = await request.call_native()
    services = [
        {
            "name": one["name"],
            "functions": [_format_function(function) for function in one["functions"]],
        }
        for one in read_body(native)["items"]
    ]
    return with_body(native, services)


def _format_function(function: Body) -> Body:
    """A schema is a JSON text; missing fields of a function are omitted."""
    schema = function["schema"]
    config = cast("Body", function["config"] or {})
    text = None if schema is None else json.dumps(schema)
    return without_nulls({**function, "schema": text, "config": without_nulls(config)})


async def _list_machines(request: DialectRequest) -> Response:
    native, found = await all_pages(request)
    return with_body(native, [_format_machine(one) for one in found])


def _format_machine(machine: Body) -> Body:
    """Machines in Inferable's format always have a last ping and an address."""
    seen = machine["lastPingAt"] or machine["createdAt"]
    return {**machine, "lastPingAt": seen, "ip": machine["ip"] or ""}


async def _get_note(request: DialectRequest) -> Response:
    native = await request.call_native()
    note: Body = read_body(native)
    return with_body(native, {"additionalContext": note["additionalContext"], "resultKeys": []})


OPERATIONS: Mapping[str, Operation] = {
    "register_machine": _register_machine,
    "list_services": _list_services,
    "list_machines": _list_machines,
    "get_function_note": _get_note,
}
