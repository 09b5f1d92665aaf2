"""`Service`: the decorators that turn Python functions into functions of a run."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from typing import ParamSpec, TypeVar, Unpack, overload

from perdure.client import AsyncPerdure, Perdure
from perdure.contract import FunctionDefinition, FunctionReference, StatusChange
from perdure.functions.context import Context
from perdure.functions.functions import (
    DEFAULT_CONCURRENCY,
    Function,
    ServiceDefinition,
    StatusChangeHandler,
    define,
)
from perdure.functions.options import FunctionOptions, configuration
from perdure.functions.signature import InputObject, StatusChangeInput
from perdure.worker.worker import Worker, serve

__all__ = ["Context", "Function", "Service", "StatusChange", "StatusChangeHandler"]

P = ParamSpec("P")
R = TypeVar("R")
AUTH_SERVICE, AUTH_FUNCTION = "default", "handleCustomAuth"
_MISSING_FRAME: Mapping[str, object] = {}


class Service(ServiceDefinition):
    """A named set of functions, which any number of processes can serve.

    The name has at most 50 letters, digits, `_` and `-`. Raises ValueError otherwise.
    """

    @overload
    def function(self, function: Callable[P, R], /) -> Function[P, R]: ...
    @overload
    def function(
        self, **options: Unpack[FunctionOptions]
    ) -> Callable[[Callable[P, R]], Function[P, R]]: ...
    def function(
        self, function: Callable[P, R] | None = None, **options: Unpack[FunctionOptions]
    ) -> Function[P, R] | Callable[[Callable[P, R]], Function[P, R]]:
        """Register a function, `def` or `async def`, for the model.

        Its input schema comes from the type hints, its description from the docstring, a parameter's from
        `Annotated[..., Field(description=...)]`. The options are described at `FunctionOptions`. An async function
        that blocks stops its whole process: write `def` instead. Raises TypeError for a signature that JSON
        cannot satisfy, ValueError for a value over its limit.
        """
        config = configuration(options)
        namespace = _caller_names()

        def decorate(plain: Callable[P, R]) -> Function[P, R]:
            taken = InputObject(plain, namespace)
            given = options.get("description")
            text = inspect.getdoc(plain) if given is None else given
            name = options.get("name") or _name_of(plain)
            definition = define(name, text, taken.schema, config)
            return self._offer(plain, definition, taken, options)

        return decorate if function is None else decorate(function)

    @overload
    def on_status_change(self, function: Callable[P, R], /) -> StatusChangeHandler[P, R]: ...
    @overload
    def on_status_change(
        self,
        *,
        name: str | None = None,
        timeout: float | None = None,
        concurrency: int = DEFAULT_CONCURRENCY,
    ) -> Callable[[Callable[P, R]], StatusChangeHandler[P, R]]: ...
    def on_status_change(
        self,
        function: Callable[P, R] | None = None,
        *,
        name: str | None = None,
        timeout: float | None = None,
        concurrency: int = DEFAULT_CONCURRENCY,
    ) -> StatusChangeHandler[P, R] | Callable[[Callable[P, R]], StatusChangeHandler[P, R]]:
        """Register a handler that takes a `StatusChange`, for `create_run(on_status_change=...)`.

        It receives every change of a run, in order and at least once: `change.id` identifies a repetition. While it
        raises, it is called again. Raises as `function` does.
        """
        config = {"timeout_seconds": timeout, "private": True, "handler": True}
        namespace = _caller_names()

        def decorate(plain: Callable[P, R]) -> StatusChangeHandler[P, R]:
            taken = StatusChangeInput(plain, namespace)
            definition = define(name or _name_of(plain), inspect.getdoc(plain), None, config)
            offered = StatusChangeHandler(
                plain, self._reference(definition.name), definition, taken, concurrency
            )
            self.add(offered)
            return offered

        return decorate if function is None else decorate(function)

    def handle_custom_auth(self, function: Callable[P, R], /) -> Function[P, R]:
        """Register the function that verifies tokens of your own users, `Authorization: custom TOKEN`.

        It takes `token: str` and returns the object that runs of this user have as `Context.auth`; any exception
        rejects the token. It has 15 seconds, is never offered to a model, and the cluster must have
        `enable_custom_auth`. Raises ValueError in a service other than `default`, TypeError for a function
        that does not take a token.
        """
        if self.name != AUTH_SERVICE:
            raise ValueError(
                f"Service {self.name!r} cannot verify tokens: the server calls {AUTH_SERVICE}.{AUTH_FUNCTION}."
            )
        taken = InputObject(function, _caller_names())
        definition = define(
            AUTH_FUNCTION, inspect.getdoc(function), taken.schema, {"private": True}
        )
        if not taken.takes({"token": "test"}):
            raise TypeError(f"{_name_of(function)} must take one argument, `token: str`.")
        return self._offer(function, definition, taken, {})

    @overload
    def running(self, client: Perdure) -> AbstractContextManager[None]: ...
    @overload
    def running(self, client: AsyncPerdure) -> AbstractAsyncContextManager[None]: ...
    def running(
        self, client: Perdure | AsyncPerdure
    ) -> AbstractContextManager[None] | AbstractAsyncContextManager[None]:
        """Serve the functions from this process inside the block: `with` or `async with`, like the client.

        When the block begins, they are registered and calls are accepted; at its end, calls in progress may finish.
        Raises the error that prevents the start: a wrong key at once, an unavailable API after 30 s.
        """
        if isinstance(client, Perdure):
            return _running(self, client)
        return _running_async(self, client)

    def run(self) -> None:
        """Serve the functions until SIGTERM or Ctrl-C; see `perdure.worker.worker.serve`."""
        serve([self])

    def _offer(
        self,
        plain: Callable[P, R],
        definition: FunctionDefinition,
        taken: InputObject,
        options: FunctionOptions,
    ) -> Function[P, R]:
        concurrency = options.get("concurrency", DEFAULT_CONCURRENCY)
        reference = self._reference(definition.name)
        offered = Function(plain, reference, definition, taken, concurrency)
        self.add(offered)
        return offered

    def _reference(self, name: str) -> FunctionReference:
        return FunctionReference(service=self.name, function=name)


@contextmanager
def _running(service: Service, client: Perdure) -> Generator[None]:
    worker = Worker([service], client.aio)
    client.portal.call(worker.start())
    try:
        yield
    finally:
        client.portal.call(worker.stop())


@asynccontextmanager
async def _running_async(service: Service, client: AsyncPerdure) -> AsyncGenerator[None]:
    worker = Worker([service], client)
    await worker.start()
    try:
        yield
    finally:
        await worker.stop()


def _name_of(function: Callable[..., object]) -> str:
    name = getattr(function, "__name__", None)
    if not isinstance(name, str):
        raise TypeError(f"{function!r} has no name; pass name=.")
    return name


def _caller_names() -> Mapping[str, object]:
    """The names visible to the decorator, for annotations that are strings and for local types."""
    frame = inspect.currentframe()
    decorator = frame.f_back if frame else None
    caller = decorator.f_back if decorator else None
    return dict(caller.f_locals) if caller else _MISSING_FRAME
