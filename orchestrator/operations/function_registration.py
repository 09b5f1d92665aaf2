"""Validates functions for registration."""

from __future__ import annotations

from pydantic import JsonValue

from orchestrator.errors import InvalidRequestError
from orchestrator.rules.cache_keys import check_key_path
from orchestrator.rules.custom_auth import as_auth_function
from orchestrator.schema import require_acceptable
from orchestrator.store.database.json_columns import from_json
from perdure.contract import FunctionDefinition, RegisterMachine


def checked_definitions(request: RegisterMachine) -> list[FunctionDefinition]:
    """Validate the functions that a machine registers for a service. Raises `InvalidRequestError` or a subclass."""
    return [
        as_auth_function(
            request.service or "",
            _check_definition(definition, index),
            pointer=f"/functions/{index}",
        )
        for index, definition in enumerate(request.functions)
    ]


def _check_definition(definition: FunctionDefinition, index: int) -> FunctionDefinition:
    """Validate one definition and parse its schema. Raises `InvalidRequestError` or a subclass."""
    _check_key_path(definition, index)
    pointer = f"/functions/{index}/schema"
    schema: JsonValue = definition.schema_
    if isinstance(schema, str):
        try:
            schema = from_json(schema)
        except ValueError as error:
            raise InvalidRequestError(
                f"The schema of {definition.name!r} is not JSON.", pointer=pointer
            ) from error
    if schema is None:
        return definition
    if not isinstance(schema, dict):
        raise InvalidRequestError(
            f"The schema of {definition.name!r} must be an object.", pointer=pointer
        )
    require_acceptable(schema, pointer=pointer)
    return definition.model_copy(update={"schema_": schema})


def _check_key_path(definition: FunctionDefinition, index: int) -> None:
    cache = None if definition.config is None else definition.config.cache
    if cache is None:
        return
    try:
        check_key_path(cache.key_path)
    except ValueError as error:
        raise InvalidRequestError(
            f"The cache of {definition.name!r} has an invalid key path: {error}.",
            pointer=f"/functions/{index}/config/cache/keyPath",
            code="invalid_key_path",
        ) from error
