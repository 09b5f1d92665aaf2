"""From a Python function's parameters to a JSON Schema, and from a call's JSON to its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from perdure.contract import StatusChange
from perdure.functions.context import Context
from perdure.http.json_codec import encode, json_schema

AnyFunction = Callable[..., Any]
_SUPPORTED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class InvalidInputError(Exception):
    """A call's input does not fit the function; the message is for the caller."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """A function's parameters without the `Context`, whose name is stored separately."""

    hints: Mapping[str, inspect.Parameter]
    context: str | None

    def with_context(self, arguments: dict[str, Any], context: Context) -> dict[str, Any]:
        """The arguments plus the context, if the function has a parameter for it."""
        return arguments if self.context is None else {**arguments, self.context: context}


class InputObject:
    """Arguments as one JSON object, for functions of the model."""

    def __init__(self, function: AnyFunction, namespace: Mapping[str, object]) -> None:
        self._parameters = read_parameters(function, namespace)
        try:
            self._adapter: TypeAdapter[dict[str, Any]] = TypeAdapter(
                _collector(self._parameters.hints)
            )
            self.schema: dict[str, JsonValue] = json_schema(self._adapter)
        except PydanticUserError as error:
            raise TypeError(
                f"The parameters of {_name(function)} cannot be described as JSON: {error.message}"
            ) from error

    def bind(self, value: JsonValue, context: Context) -> dict[str, Any]:
        """Keyword arguments for the function. Raises `InvalidInputError` that names what is wrong."""
        try:
            arguments = self._adapter.validate_json(encode({} if value is None else value))
        except ValidationError as error:
            raise InvalidInputError(_explain(error)) from error
        return self._parameters.with_context(arguments, context)

    def takes(self, value: JsonValue) -> bool:
        """Whether this can be a call's input."""
        try:
            self._adapter.validate_json(encode(value))
        except ValidationError:
            return False
        return True


class StatusChangeInput:
    """The one argument of a status-change handler."""

    schema: dict[str, JsonValue] | None = None

    def __init__(self, function: AnyFunction, namespace: Mapping[str, object]) -> None:
        self._parameters = read_parameters(function, namespace)
        if len(self._parameters.hints) != 1:
            raise TypeError(
                f"A status-change handler takes a StatusChange and optionally a Context;"
                f" {_name(function)} does not."
            )
        (self._parameter,) = self._parameters.hints

    def bind(self, value: JsonValue, context: Context) -> dict[str, Any]:
        """Keyword arguments for the handler. Raises `InvalidInputError`."""
        try:
            change = StatusChange.model_validate(value)
        except ValidationError as error:
            raise InvalidInputError(_explain(error)) from error
        return self._parameters.with_context({self._parameter: change}, context)


def read_parameters(function: AnyFunction, namespace: Mapping[str, object]) -> Parameters:
    """Parse a signature; its annotations may use the names in `namespace`.

    Raises TypeError if the function cannot be called with a JSON object.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{_name(function)} is a generator; a function returns one result.")
    hints = _type_hints(function, namespace)
    parameters = [
        parameter.replace(annotation=hints.get(name, inspect.Parameter.empty))
        for name, parameter in inspect.signature(function).parameters.items()
    ]
    for position, parameter in enumerate(parameters):
        _check(function, parameter, first=position == 0)
    contexts = [p.name for p in parameters if _is_context(p.annotation)]
    if len(contexts) > 1:
        raise TypeError(f"{_name(function)} takes more than one Context.")
    return Parameters(
        hints={p.name: p for p in parameters if p.name not in contexts},
        context=contexts[0] if contexts else None,
    )


def _type_hints(function: AnyFunction, namespace: Mapping[str, object]) -> dict[str, Any]:
    try:
        return get_type_hints(function, localns=dict(namespace), include_extras=True)
    except NameError as error:
        raise TypeError(
            f"An annotation of {_name(function)} cannot be resolved where it is decorated: {error}."
        ) from error


def _check(function: AnyFunction, parameter: inspect.Parameter, *, first: bool) -> None:
    if parameter.kind not in _SUPPORTED:
        raise TypeError(
            f"{_name(function)} takes {parameter}: arguments come by name, so that *args, **kwargs and"
            " positional-only parameters cannot be filled."
        )
    if first and parameter.name in {"self", "cls"} and parameter.annotation is parameter.empty:
        raise TypeError(f"{_name(function)} is a method; decorate a function.")


def _is_context(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return inspect.isclass(annotation) and issubclass(annotation, Context)


def _collector(parameters: Mapping[str, inspect.Parameter]) -> Any:
    """A function with these parameters, by name only, that returns its arguments.

    pydantic validates calls of functions; validating a call of this one returns its arguments.
    """

    def collect(**arguments: Any) -> dict[str, Any]:
        return arguments

    by_name = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters.values()]
    collect.__dict__["__signature__"] = inspect.Signature(by_name)
    collect.__annotations__ = {
        p.name: p.annotation for p in by_name if p.annotation is not inspect.Parameter.empty
    }
    return collect


def _explain(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(
        ": ".join(filter(None, (".".join(map(str, problem["loc"])), problem["msg"])))
        for problem in problems
    )


def _name(function: AnyFunction) -> str:
    return getattr(function, "__qualname__", repr(function))
