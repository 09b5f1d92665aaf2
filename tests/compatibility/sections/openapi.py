"""The HTTP API by its OpenAPI document: names, types and defaults, without descriptions.

Schema names are included, because generated clients use them as type names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi.routing import iter_route_contexts

from api.app import assemble
from tests.compatibility.comparison import Json
from tests.compatibility.sections.json_types import Schema, described, type_of, values_of

_METHODS = {"get", "put", "post", "delete", "patch", "head", "options"}


def openapi() -> Json:
    """Operations by method and path, and the schemas of requests and responses."""
    app = assemble()
    document: dict[str, Any] = app.openapi()
    schemas: Mapping[str, Schema] = document["components"]["schemas"]
    operations = {
        f"{method.upper()} {path}": operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in _METHODS
    }
    requested = _reached(
        {name for one in operations.values() for name in _named(_body(one))}, schemas
    )
    return {
        "operations": {name: _operation(one) for name, one in operations.items()},
        "routes outside the document": sorted(
            f"{method} {route.path_format}"
            for route in iter_route_contexts(app.routes)
            for method in route.methods or ()
            if f"{method} {route.path_format}" not in operations
        ),
        "schemas": {
            name: _schema(schema, in_request=name in requested) for name, schema in schemas.items()
        },
        "security": {
            name: {"type": scheme["type"], "scheme": scheme.get("scheme", "")}
            for name, scheme in document["components"]["securitySchemes"].items()
        },
    }


def _operation(operation: Mapping[str, Any]) -> dict[str, Json]:
    entry: dict[str, Json] = {
        "id": operation["operationId"],
        "security": " ".join(name for one in operation.get("security", ()) for name in one),
        "parameters": {
            f"{one['in']} {one['name']}": {
                **described(one["schema"]),
                "required": one.get("required", False),
            }
            for one in operation.get("parameters", ())
        },
        "responses": {
            status: {**_content(answer), **_headers(answer)}
            for status, answer in operation["responses"].items()
        },
    }
    if body := _body(operation):
        entry["body"] = {**_content(body), "required": body.get("required", False)}
    return entry


def _body(operation: Mapping[str, Any]) -> Mapping[str, Any]:
    body: Mapping[str, Any] = operation.get("requestBody", {})
    return body


def _content(holder: Mapping[str, Any]) -> dict[str, Json]:
    return {
        media: type_of(content.get("schema", {}))
        for media, content in holder.get("content", {}).items()
    }


def _headers(answer: Mapping[str, Any]) -> dict[str, Json]:
    return {
        f"header {name}": type_of(one["schema"]) for name, one in answer.get("headers", {}).items()
    }


def _schema(schema: Schema, *, in_request: bool) -> dict[str, Json]:
    """In a request schema, new properties must not be required. In a response schema, `always` means always present."""
    entry: dict[str, Json] = {"type": type_of(schema)}
    if values := values_of(schema):
        entry["values"] = values
    if schema.get("additionalProperties") is False:
        entry["other properties"] = "refused"
    needed = schema.get("required", ())
    word = "required" if in_request else "always"
    if "properties" in schema:
        entry["properties"] = {
            name: {**described(one), word: name in needed}
            for name, one in schema["properties"].items()
        }
    return entry


def _reached(names: set[str], schemas: Mapping[str, Schema]) -> set[str]:
    """These schemas and all schemas that they refer to, directly or not."""
    reached: set[str] = set()
    while names:
        reached |= names
        names = {below for name in names for below in _named(schemas[name])} - reached
    return reached


def _named(value: object) -> Iterator[str]:
    """Names of the schemas that the value refers to."""
    yield from re.findall(r"#/components/schemas/(\w+)", repr(value))
