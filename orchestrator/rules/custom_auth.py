"""The function that authenticates tokens of a cluster's own users: its name and its input."""

from __future__ import annotations

import json

from orchestrator.errors import InvalidRequestError
from orchestrator.schema import compile_schema
from perdure.contract import FunctionConfig, FunctionDefinition

AUTH_SERVICE, AUTH_FUNCTION = "default", "handleCustomAuth"


def as_auth_function(
    service: str, definition: FunctionDefinition, *, pointer: str
) -> FunctionDefinition:
    """Return the definition, made private if it is the auth function: no model may call that.

    Raises `InvalidRequestError` if its schema, which was validated before, rejects `{"token": "…"}`.
    """
    if (service, definition.name) != (AUTH_SERVICE, AUTH_FUNCTION):
        return definition
    if isinstance(definition.schema_, dict):
        problems = compile_schema(json.dumps(definition.schema_)).problems({"token": "test"})
        if problems:
            raise InvalidRequestError(
                f"{AUTH_SERVICE}.{AUTH_FUNCTION} is called with an object that has a string `token` and nothing else;"
                " its schema rejects that.",
                pointer=f"{pointer}/schema",
            )
    config = definition.config or FunctionConfig()
    return definition.model_copy(update={"config": config.model_copy(update={"private": True})})
