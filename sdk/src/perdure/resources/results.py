"""The requested type of a run's result, and the result parsed as that type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeGuard, TypeVar, cast

from pydantic import JsonValue, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from perdure.contract import Run, RunStatus, Usage
from perdure.errors import ResultError
from perdure.http.json_codec import encode, json_schema

T = TypeVar("T")

JsonSchema = Mapping[str, JsonValue] | bool


@dataclass(frozen=True, slots=True)
class RunResult(Generic[T]):
    """A run that is done, with its result as the requested type.

    `result` is None if the run has none; `result_null_reason` then says why.
    """

    run: Run
    result: T | None

    @property
    def id(self) -> str:
        return self.run.id

    @property
    def status(self) -> RunStatus:
        return self.run.status

    @property
    def result_null_reason(self) -> str | None:
        return self.run.result_null_reason

    @property
    def usage(self) -> Usage:
        """Tokens the run was charged for so far."""
        return self.run.usage

    def unwrap(self) -> T:
        """The result. Raises `ResultError` with the reason when there is none."""
        if self.result is None and self.run.result_null_reason is not None:
            raise ResultError(self.run, self.run.result_null_reason)
        return cast(T, self.result)


class ResultReader(Generic[T]):
    """A result schema for the server, and the parser of its results."""

    def __init__(self, schema: JsonSchema | None, adapter: TypeAdapter[T] | None) -> None:
        self.schema = schema
        self._adapter = adapter

    def read(self, run: Run) -> RunResult[T]:
        """Parse a finished run's result. Raises `ResultError` if it is not of the type."""
        if run.result is None and run.result_null_reason is not None:
            return RunResult(run, None)
        try:
            return RunResult(run, self.value(run.result))
        except ValidationError as error:
            raise ResultError(run, str(error)) from error

    def value(self, value: JsonValue) -> T:
        """Parse a value as the type. Raises pydantic's ValidationError."""
        if self._adapter is None:
            return cast(T, value)
        return self._adapter.validate_json(encode(value))


UNTYPED: ResultReader[JsonValue] = ResultReader(None, None)
"""Results as plain JSON."""


def reader_for(result_schema: Any) -> ResultReader[Any]:
    """A reader for a JSON Schema, a TypeAdapter, or any type pydantic understands.

    Raises TypeError for a type that has no JSON form.
    """
    if result_schema is None:
        return UNTYPED
    if isinstance(result_schema, bool | Mapping):
        return ResultReader(cast(JsonSchema, result_schema), None)
    try:
        adapter = _adapter(result_schema)
        return ResultReader(json_schema(adapter), adapter)
    except (PydanticUserError, PydanticSerializationError) as error:
        raise TypeError(f"{result_schema!r} cannot be a result schema: {error}") from error


def _adapter(kind: Any) -> TypeAdapter[Any]:
    return kind if _is_adapter(kind) else TypeAdapter(kind)


def _is_adapter(kind: object) -> TypeGuard[TypeAdapter[Any]]:
    return isinstance(kind, TypeAdapter)
