"""Encodes Python values as JSON, and types as JSON Schemas, for requests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind
from pydantic_core import PydanticSerializationError, core_schema, to_jsonable_python
from typing_extensions import override

from perdure.contract import Request
from perdure.errors import InvalidRequestError

RequestT = TypeVar("RequestT", bound=Request)

_DECIMAL = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
"""Without look-around: the server's validator accepts only expressions that run in linear time."""


class WireSchema(GenerateJsonSchema):
    """JSON Schema for a model: no titles made from names, decimals as numbers."""

    ignored_warning_kinds: set[JsonSchemaWarningKind] = {  # noqa: RUF012 - as its base class has it
        "skipped-choice",
        "non-serializable-default",
    }

    @override
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    @override
    def get_decimal_pattern(self, schema: core_schema.DecimalSchema) -> str | None:
        return _DECIMAL


def json_schema(adapter: TypeAdapter[Any]) -> dict[str, Any]:
    """The JSON Schema of the values that the adapter accepts."""
    return adapter.json_schema(schema_generator=WireSchema, mode="validation")


def encode(value: object) -> bytes:
    """Compact JSON in UTF-8; lone surrogates, which UTF-8 cannot encode, stay escaped.

    Raises ValueError for NaN and infinities, TypeError for a value that is not JSON.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def encode_request(request: Request) -> bytes:
    """A request's body. Raises `InvalidRequestError` for numbers that JSON does not have."""
    try:
        return encode(request.model_dump(mode="json", by_alias=True, exclude_unset=True))
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(
            422, "invalid_request", f"The request was not sent: it is not JSON ({error})."
        ) from error


def build(kind: type[RequestT], fields: Mapping[str, object]) -> RequestT:
    """Build a request body of the fields that are not None. Raises `InvalidRequestError` naming the fields as in JSON."""
    return build_with_nulls(
        kind, {name: value for name, value in fields.items() if value is not None}
    )


def build_with_nulls(kind: type[RequestT], fields: Mapping[str, object]) -> RequestT:
    """Build a request body in which None is sent as null."""
    given = {kind.model_fields[name].alias or name: value for name, value in fields.items()}
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise InvalidRequestError.unsendable(error) from error


def as_json(value: object, name: str) -> JsonValue:
    """A value for a request, as JSON. Raises `InvalidRequestError` that names it."""
    try:
        return cast(JsonValue, to_jsonable_python(value))
    except PydanticSerializationError as error:
        raise InvalidRequestError(
            422, "invalid_request", f"The request was not sent: its {name} is not JSON ({error})."
        ) from error
