"""Structured output: one model request, one value of a type."""

from __future__ import annotations

from typing import Any, TypeVar, cast, overload

from pydantic import JsonValue, TypeAdapter, ValidationError

from perdure.contract import CreateStructuredOutput, NoStructuredOutput, StructuredOutput
from perdure.errors import StructuredOutputError
from perdure.http.cluster_api import OfCluster
from perdure.http.json_codec import build
from perdure.http.transport import read_json, read_value
from perdure.resources.results import JsonSchema, reader_for

T = TypeVar("T")

_MAX_WAIT = 60.0
"""Seconds after which the server answers 408."""


class AsyncStructuredOutput(OfCluster):
    """The part of the client for structured output."""

    @overload
    async def structured_output(
        self, prompt: str, result_schema: type[T] | TypeAdapter[T], *, model: str | None = None
    ) -> T: ...
    @overload
    async def structured_output(
        self, prompt: str, result_schema: JsonSchema, *, model: str | None = None
    ) -> JsonValue: ...
    async def structured_output(
        self, prompt: str, result_schema: Any, *, model: str | None = None
    ) -> Any:
        """Ask a model once, without functions, for a value of a type or a JSON Schema; at most 60 s.

        A request that may have arrived is not repeated, because each costs money. Raises `StructuredOutputError`
        if there is no such value, `StillWorkingError` if it takes longer, and the errors of every request.
        """
        reader = reader_for(result_schema)
        fields = {"prompt": prompt, "result_schema": reader.schema, "model_id": model}
        body = build(CreateStructuredOutput, fields)
        response = await self._api.send(
            "POST", "structured-output", body=body, wait=_MAX_WAIT, repeatable=False
        )
        answer = read_json(response)
        if not cast(dict[str, object], answer).get("success"):
            raise StructuredOutputError(read_value(NoStructuredOutput, answer).error)
        try:
            return reader.value(read_value(StructuredOutput, answer).data)
        except ValidationError as error:
            raise StructuredOutputError(str(error)) from error
