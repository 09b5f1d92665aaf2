"""Whether a user's schema is accepted. Every error names the rule and, where there is one, the limit."""

from __future__ import annotations

import json
from typing import cast

import jsonschema_rs

from orchestrator.errors import InvalidRequestError, TooLargeError
from orchestrator.schema.complexity import measure_cost, to_pointer
from orchestrator.schema.drafts import Draft, Schema, draft_of
from orchestrator.schema.validator import compile_validator, describe

MAX_BYTES = 64 * 1024
"""Of a schema as compact JSON in UTF-8."""
MAX_DEPTH = 32
"""Objects and arrays inside each other."""
MAX_NODES = 5_000
"""Values of any kind, at any depth."""


def parse_schema(text: str, *, pointer: str) -> Schema:
    """Parse a schema sent as JSON in a string. Raises InvalidRequestError if it is not one, or too long."""
    if len(text) > MAX_BYTES:
        raise _too_large(f"A schema may have at most {MAX_BYTES:,} bytes.", pointer)
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"The schema is not JSON: {error}.", pointer) from None
    return _as_schema(value, pointer)


def require_acceptable(schema: object, *, pointer: str) -> None:
    """Accept or reject a user's schema; `pointer` is its place in the request.

    At most `MAX_BYTES`, `MAX_DEPTH`, `MAX_NODES`, and what `measure_cost` bounds. Raises TooLargeError for a limit and
    InvalidRequestError (code `invalid_schema`) for everything else: not a schema, another draft, a reference that
    leaves the schema or is circular, a pattern that the linear engine does not support.
    """
    _measure(schema, pointer)
    accepted = _as_schema(schema, pointer)
    draft = draft_of(accepted)
    if draft is None:
        raise _invalid(
            "`$schema` must name draft 7 or draft 2020-12, or be left out (2020-12).",
            pointer + "/$schema",
        )
    _check_metaschema(accepted, draft, pointer)
    measure_cost(accepted, draft, pointer=pointer)
    _compile(accepted, pointer)


def _as_schema(value: object, pointer: str) -> Schema:
    if not isinstance(value, dict | bool):
        raise _invalid("A JSON Schema is an object, true or false.", pointer)
    return cast("Schema", value)


def _measure(schema: object, pointer: str) -> None:
    level, nodes = [schema], 1
    for _ in range(MAX_DEPTH):
        level = [child for value in level for child in _inside(value)]
        nodes += len(level)
        if nodes > MAX_NODES:
            raise _too_large(f"A schema may have at most {MAX_NODES:,} values in it.", pointer)
    if any(isinstance(value, dict | list) for value in level):
        raise _too_large(f"A schema may be nested at most {MAX_DEPTH} levels deep.", pointer)
    try:
        size = len(
            json.dumps(schema, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        )
    except (ValueError, TypeError) as error:
        raise _invalid(f"The schema is not JSON: {error}.", pointer) from None
    if size > MAX_BYTES:
        raise _too_large(
            f"A schema may have at most {MAX_BYTES:,} bytes; this one has {size:,}.", pointer
        )


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(cast("dict[str, object]", value).values())
    return cast("list[object]", value) if isinstance(value, list) else []


def _check_metaschema(schema: Schema, draft: Draft, pointer: str) -> None:
    if isinstance(schema, bool):
        return
    try:
        jsonschema_rs.meta.validate({**schema, "$schema": draft.value})
    except jsonschema_rs.ValidationError as error:
        raise _not_a_schema(error, draft, pointer) from None


def _compile(schema: Schema, pointer: str) -> None:
    try:
        compile_validator(schema)
    except jsonschema_rs.ValidationError as error:
        raise _not_a_schema(error, draft_of(schema) or Draft.LATEST, pointer) from None
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise _invalid(f"The schema cannot be used: {error}.", pointer) from None


def _not_a_schema(
    error: jsonschema_rs.ValidationError, draft: Draft, pointer: str
) -> InvalidRequestError:
    where = pointer + to_pointer(tuple(error.instance_path))
    if error.kind.name == "format" and error.kind.value == "regex":
        return _invalid(
            "The pattern is not taken: it must be a regular expression without look-around or back-references, "
            "and not a huge one.",
            where,
        )
    return _invalid(f"This is not JSON Schema ({draft.title}): {describe(error)}.", where)


def _invalid(detail: str, pointer: str) -> InvalidRequestError:
    return InvalidRequestError(detail, pointer=pointer, code="invalid_schema")


def _too_large(detail: str, pointer: str) -> TooLargeError:
    return TooLargeError(detail, pointer=pointer)
