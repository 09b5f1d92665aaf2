"""The OpenAPI document: errors of operations, and their format."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from api.http.errors import PROBLEM_TYPE
from api.http.openapi_examples import add_examples
from perdure.contract import Problem
from perdure.contract.event_types import EVENT_DATA

_REASONS = {
    HTTPStatus.BAD_REQUEST: "The body is not JSON.",
    HTTPStatus.UNAUTHORIZED: "The API key is missing, unknown or revoked.",
    HTTPStatus.FORBIDDEN: "The key lacks a required scope; `detail` names it.",
    HTTPStatus.NOT_FOUND: "Unknown, or of another cluster.",
    HTTPStatus.REQUEST_TIMEOUT: "Not finished yet. It continues; `detail` says where to read it.",
    HTTPStatus.CONFLICT: "Not possible in the current state; `code` says why.",
    HTTPStatus.GONE: "This machine has not registered the functions: `POST /machines` first.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Over a limit, which `detail` names.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is not plain JSON.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "A field or parameter is invalid; `errors` names each.",
    HTTPStatus.TOO_MANY_REQUESTS: "Over the cluster's rate limit; `detail` names the limit.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "A fault of the server.",
    HTTPStatus.SERVICE_UNAVAILABLE: "A dependency is unavailable. Repeat after `Retry-After` seconds.",
}
_ALWAYS = (401, 403, 429, 500, 503)
_WITH_BODY = (400, 413, 415)
_SCHEMA_REF = "#/components/schemas/{model}"
_REF = _SCHEMA_REF.format(model="Problem")


def problems(
    *statuses: int, body: bool = False, fields: bool = True
) -> dict[int | str, dict[str, Any]]:
    """Error responses of an operation that requires a key; `body` and `fields` add those of a body and of parameters."""
    reading = (*(_WITH_BODY if body else ()), *((422,) if fields else ()))
    listed = sorted({*statuses, *_ALWAYS, *reading})
    return {status: _response(HTTPStatus(status)) for status in listed}


def _response(status: HTTPStatus) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": _REASONS[status],
        "content": {PROBLEM_TYPE: {"schema": {"$ref": _REF}}},
    }
    header = {
        HTTPStatus.UNAUTHORIZED: "WWW-Authenticate",
        HTTPStatus.TOO_MANY_REQUESTS: "Retry-After",
        HTTPStatus.SERVICE_UNAVAILABLE: "Retry-After",
    }.get(status)
    if header is not None:
        answer["headers"] = {header: {"schema": {"type": "string"}}}
    return answer


def install_openapi(app: FastAPI) -> None:
    """Give the app its document, built once, on the first request."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    setattr(app, "openapi", document)  # noqa: B010 - the documented way, which types cannot say


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    schemas: dict[str, Any] = document["components"]["schemas"]
    problem = Problem.model_json_schema(
        by_alias=True, mode="serialization", ref_template=_SCHEMA_REF
    )
    schemas.update(problem.pop("$defs"))
    schemas["Problem"] = problem
    _add_event_data(schemas)
    add_examples(document)
    return document


def _add_event_data(schemas: dict[str, Any]) -> None:
    """Describe `data` of every type of event, as the catalogue has it."""
    variants: list[dict[str, Any]] = []
    for event_type, data in EVENT_DATA.items():
        schema = TypeAdapter(data).json_schema(
            by_alias=True, mode="serialization", ref_template=_SCHEMA_REF
        )
        schemas.update(schema.pop("$defs", {}))
        name = f"{data.__name__}Event"
        schemas[name] = schema
        described = {"$ref": _SCHEMA_REF.format(model=name)}
        variants.append({"properties": {"type": {"const": event_type.value}, "data": described}})
    schemas["Event"]["allOf"] = [{"oneOf": variants}]
