"""Errors in Inferable's format.

Inferable's server answers `{"message"}` for an error found by a handler and `{"error": {"message"}}` for an exception;
this one sends both, with its `code`. Invalid requests are reported in the format of zod.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from api.http.errors import ApiError
from api.http.validation import body_path

RETRY_SECONDS = 1
"""Seconds after which a machine polls again after an error; without the header some would poll without a delay."""
_BAD_REQUEST_CODES = frozenset({"run_is_not_interactive"})
_ROUTING = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})
_PLACES: Mapping[str, str] = {
    "path": "pathParameterErrors",
    "header": "headerErrors",
    "query": "queryParameterErrors",
    "body": "bodyErrors",
}
_EXPECTED: Mapping[str, str] = {
    "string_type": "string",
    "bool_type": "boolean",
    "int_type": "number",
    "int_parsing": "number",
    "float_type": "number",
    "float_parsing": "number",
    "list_type": "array",
    "dict_type": "object",
    "model_type": "object",
    "model_attributes_type": "object",
}
"""The types of pydantic, by zod's names."""
_CODES: Mapping[str, str] = {
    "greater_than": "too_small",
    "greater_than_equal": "too_small",
    "string_too_short": "too_small",
    "too_short": "too_small",
    "less_than_equal": "too_big",
    "string_too_long": "too_big",
    "too_long": "too_big",
    "string_pattern_mismatch": "invalid_string",
    "enum": "invalid_enum_value",
    "literal_error": "invalid_enum_value",
}


def render_error(request: Request, error: Exception, native: Response) -> Response:
    """Render a native error response in this dialect."""
    status, body = _status_and_body(request, error, native)
    kept = {name: text for name, text in native.headers.items() if not name.startswith("content-")}
    route = request.scope.get("route")
    if isinstance(route, APIRoute) and route.operation_id == "poll_calls":
        kept["retry-after"] = str(RETRY_SECONDS)
    return Response(json.dumps(body), status, kept, "application/json")


def _status_and_body(request: Request, error: Exception, native: Response) -> tuple[int, object]:
    if isinstance(error, RequestValidationError):
        return HTTPStatus.BAD_REQUEST, _zod(_issues(error))
    if native.status_code == HTTPStatus.UNAUTHORIZED and "authorization" not in request.headers:
        missing = _invalid_type("string", ["authorization"])
        return HTTPStatus.BAD_REQUEST, _zod({"headerErrors": [missing]})
    no_route = isinstance(error, HTTPException) and not isinstance(error, ApiError)
    if no_route and native.status_code in _ROUTING:
        return HTTPStatus.NOT_FOUND, _no_route(request)
    problem = json.loads(bytes(native.body))
    bad = problem["code"] in _BAD_REQUEST_CODES
    bad = bad or native.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    status = HTTPStatus.BAD_REQUEST if bad else native.status_code
    # Inferable's server has no 403: a missing permission is a 401.
    return HTTPStatus.UNAUTHORIZED if status == HTTPStatus.FORBIDDEN else status, _message(problem)


def _no_route(request: Request) -> dict[str, object]:
    return {
        "message": f"Route {request.method}:{request.url.path} not found",
        "error": "Not Found",
        "statusCode": int(HTTPStatus.NOT_FOUND),
    }


def _message(problem: Mapping[str, Any]) -> dict[str, object]:
    internal = problem["status"] == HTTPStatus.INTERNAL_SERVER_ERROR
    text = "Internal server error" if internal else problem["detail"]
    body: dict[str, object] = {"message": text, "code": problem["code"], "error": {"message": text}}
    if problem["errors"]:
        body["errors"] = [
            {"path": one["pointer"], "error": one["detail"]} for one in problem["errors"]
        ]
    return body


# -- zod -------------------------------------------------------------------------------------------


def _zod(issues: Mapping[str, Sequence[object]]) -> dict[str, object]:
    return {
        place: {"issues": issues[place], "name": "ZodError"} if place in issues else None
        for place in _PLACES.values()
    }


def _issues(error: RequestValidationError) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    for item in cast("Sequence[Mapping[str, Any]]", error.errors()):
        source, *location = cast("tuple[str | int, ...]", item["loc"])
        missing = item["type"] == "missing"
        path = location
        if source == "body":
            path = list(body_path(location, error.body, missing=missing))
        if location == ["wait"]:
            path = ["waitTime"]
        issue = _issue(item, path)
        issues = found.setdefault(_PLACES.get(str(source), "bodyErrors"), [])
        if issue not in issues:
            issues.append(issue)
    return found


def _issue(item: Mapping[str, Any], path: Sequence[str | int]) -> dict[str, object]:
    kind = str(item["type"])
    if kind == "missing":
        return _invalid_type("string" if path else "object", path)
    if expected := _EXPECTED.get(kind):
        return _invalid_type(expected, path, _type_of(item.get("input")))
    return {"code": _CODES.get(kind, "custom"), "path": list(path), "message": str(item["msg"])}


def _invalid_type(
    expected: str, path: Sequence[str | int], received: str = "undefined"
) -> dict[str, object]:
    required = received == "undefined"
    return {
        "code": "invalid_type",
        "expected": expected,
        "received": received,
        "path": list(path),
        "message": "Required" if required else f"Expected {expected}, received {received}",
    }


def _type_of(value: object) -> str:
    """The name of a JSON type in JavaScript."""
    names: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "boolean"),
        (str, "string"),
        ((int, float), "number"),
        (list, "array"),
        (dict, "object"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), "null")
