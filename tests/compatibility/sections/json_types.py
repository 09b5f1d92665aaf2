"""JSON Schemas in short form: the type as text, and the allowed values of enumerations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.compatibility.comparison import Json

Schema = Mapping[str, Any]


def type_of(schema: Schema) -> str:
    """For example `string | null`, `[Run]`, `{text: string}`; a reference is given by its schema's name."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema and "properties" not in schema:  # else it narrows an object
            return " | ".join(sorted(map(type_of, schema[several])))
    if "items" in schema:
        return f"[{type_of(schema['items'])}]"
    if isinstance(schema.get("additionalProperties"), Mapping):
        return f"{{text: {type_of(schema['additionalProperties'])}}}"
    return " ".join(filter(None, (str(schema.get("type", "any")), schema.get("format", ""))))


def values_of(schema: Schema) -> list[Json]:
    """The allowed values of an enumeration; empty for other types."""
    parts = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), schema.get("items", {})]
    values = [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else ())]
    return values + [value for part in parts for value in values_of(part)] if schema else []


def described(schema: Schema) -> dict[str, Json]:
    """Type, allowed values and default of one property or parameter."""
    entry: dict[str, Json] = {"type": type_of(schema)}
    if values := values_of(schema):
        entry["values"] = values
    if "default" in schema:
        entry["default"] = json.dumps(schema["default"], sort_keys=True)
    return entry
