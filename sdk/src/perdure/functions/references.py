"""The ways to name a function."""

from __future__ import annotations

from typing import Any

from perdure.contract import FunctionReference
from perdure.errors import InvalidRequestError
from perdure.functions.functions import Function
from perdure.http.json_codec import build

AttachedFunction = Function[..., Any] | FunctionReference | str
"""A decorated function, a reference, or the `service_function` string."""
NamedFunction = Function[..., Any] | FunctionReference | str
"""A decorated function, a reference, or the string `service.function`."""


def to_attachment(function: AttachedFunction) -> FunctionReference | str:
    """A function that a run attaches."""
    return function.reference if isinstance(function, Function) else function


def full_name(function: AttachedFunction) -> str:
    """The name of a function for models, `service_function`."""
    named = to_attachment(function)
    return named if isinstance(named, str) else f"{named.service}_{named.function}"


def to_reference(function: NamedFunction) -> FunctionReference:
    """A function's service and name. Raises `InvalidRequestError` for an invalid string."""
    named = to_attachment(function)
    if isinstance(named, FunctionReference):
        return named
    service, dot, name = named.partition(".")
    if not dot:
        raise InvalidRequestError(
            422, "invalid_request", f"{named!r} is not a function: write service.function."
        )
    return build(FunctionReference, {"service": service, "function": name})
