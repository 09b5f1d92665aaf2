"""The functions and status-change handlers of a service, and its registration."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

from pydantic import JsonValue, TypeAdapter, ValidationError
from typing_extensions import override

from perdure.contract import (
    MAX_FUNCTIONS_PER_SERVICE,
    FunctionConfig,
    FunctionDefinition,
    FunctionReference,
    RegisterMachine,
    ServiceName,
)
from perdure.functions.context import Context
from perdure.sync.loop_thread import in_daemon_thread

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)

DEFAULT_CONCURRENCY = 10
"""Calls of one function that one process runs at the same time."""


class Input(Protocol):
    """Turns a call's JSON into keyword arguments."""

    @property
    def schema(self) -> dict[str, JsonValue] | None: ...

    def bind(self, value: JsonValue, context: Context) -> dict[str, Any]: ...


class Function(Generic[P, R_co]):
    """A decorated function. It can be called as before; the server knows it by `reference`."""

    __name__: str

    def __init__(
        self,
        function: Callable[P, R_co],
        reference: FunctionReference,
        definition: FunctionDefinition,
        input_: Input,
        concurrency: int,
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency is {concurrency}; at least 1 is needed.")
        functools.update_wrapper(self, function)
        self.reference = reference
        self.definition = definition
        self.concurrency = concurrency
        self._function = function
        self._input = input_
        self.is_async = inspect.iscoroutinefunction(function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function as it was written."""
        return self._function(*args, **kwargs)

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.reference.service}.{self.reference.function}>"

    async def answer(self, value: JsonValue, context: Context) -> object:
        """Run the function on a call's input, in a thread of its own if it is not async.

        Raises `InvalidInputError`, and what the function raises. Cancelling it cancels an async function and
        abandons the thread of a blocking one.
        """
        arguments: dict[str, Any] = self._input.bind(value, context)
        work: Callable[[], Any] = functools.partial(self._function, **arguments)
        returned = work() if self.is_async else await in_daemon_thread(work)
        return await returned if inspect.isawaitable(returned) else returned


class StatusChangeHandler(Function[P, R_co]):
    """A function that receives a run's status changes; it is never available to the model."""


class ServiceDefinition:
    """A named set of functions, as function workers register it."""

    def __init__(self, name: str) -> None:
        _check_name("service", name)
        self.name = name
        self._functions: dict[str, Function[Any, Any]] = {}

    @property
    def functions(self) -> Mapping[str, Function[Any, Any]]:
        """The functions by name."""
        return MappingProxyType(self._functions)

    def definition(self) -> RegisterMachine:
        """The body of the registration."""
        return RegisterMachine(
            service=self.name,
            functions=[function.definition for function in self._functions.values()],
        )

    def add(self, function: Function[Any, Any]) -> None:
        """Add a function. Raises ValueError for a name that exists, and beyond the maximum number of functions."""
        name = function.reference.function
        if name in self._functions:
            raise ValueError(f"Service {self.name!r} already has a function {name!r}.")
        if len(self._functions) >= MAX_FUNCTIONS_PER_SERVICE:
            raise ValueError(f"A service has at most {MAX_FUNCTIONS_PER_SERVICE} functions.")
        self._functions[name] = function


def define(
    name: str,
    description: str | None,
    schema: dict[str, JsonValue] | None,
    config: Mapping[str, object],
) -> FunctionDefinition:
    """Describe a function for the server. Raises ValueError that names the value and its limit."""
    fields = {"name": name, "description": description, "schema": schema}
    set_options = {key: value for key, value in config.items() if value is not None}
    try:
        return FunctionDefinition.model_validate(
            {key: value for key, value in fields.items() if value is not None}
            | {"config": FunctionConfig.model_validate(set_options)}
        )
    except ValidationError as error:
        raise ValueError(f"Function {name!r}: {_first_problem(error)}") from error


def _check_name(kind: str, name: str) -> None:
    try:
        _service_name.validate_python(name)
    except ValidationError as error:
        raise ValueError(f"{name!r} is not a {kind} name: {_first_problem(error)}") from error


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return ": ".join(filter(None, (".".join(map(str, problem["loc"])), problem["msg"])))


_service_name: TypeAdapter[str] = TypeAdapter(ServiceName)
