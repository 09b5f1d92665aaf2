"""`AsyncPerdure`, the client; `Perdure`, its synchronous face."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypedDict, TypeVar, Unpack, overload
from urllib.parse import quote
from uuid import uuid4

import httpx2
from pydantic import JsonValue, TypeAdapter
from pydantic_core import PydanticSerializationError, to_jsonable_python

from perdure.configuration import find_connection
from perdure.contract import (
    CreateRun,
    FunctionReference,
    Identity,
    Run as RunSnapshot,
    RunPage,
    RunStatus,
    ServiceDescription,
    ServicePage,
)
from perdure.errors import InvalidRequestError
from perdure.functions import Function, StatusChangeHandler
from perdure.json_wire import build
from perdure.results import UNTYPED, JsonSchema, reader_for
from perdure.runs import AsyncRun, Run
from perdure.threads import Portal
from perdure.transport import PATIENCE, QueryValue, Transport, read_reply

T = TypeVar("T")

AttachedFunction = Function[..., Any] | FunctionReference | str
"""A decorated function, a reference, or the `service_function` string."""
_PAGE = 50
_LONGEST_KEY = 256


class RunOptions(TypedDict, total=False):
    """What `create_run` takes besides the prompt and the result schema; all optional.

    - `functions`: what the model may call; default: every function of the cluster that is not private.
    - `on_status_change`: a handler that is told of every change.
    - `metadata`: up to 64 pairs of strings, by which runs can be listed.
    - `context`: JSON that functions and handlers get and the model never does, at most 256 KiB.
    - `system_prompt`, `name`, `model` (`provider/model`): default: the server's.
    - `interactive` (default True): follow-up messages are taken.
    - `call_summarization` (default True): long results of functions are summarized for the model.
    - `id`: your own id for the run; creating it again returns the same run.
    - `idempotency_key`: the same, without choosing the id.
    """

    functions: Sequence[AttachedFunction] | None
    on_status_change: StatusChangeHandler[..., Any] | FunctionReference | None
    metadata: Mapping[str, str] | None
    context: Mapping[str, Any] | None
    system_prompt: str | None
    name: str | None
    model: str | None
    interactive: bool
    call_summarization: bool
    id: str | None
    idempotency_key: str | None


class AsyncPerdure:
    """A client of one cluster; use it from one event loop, with `async with` or `aclose`.

    What is not given comes from `PERDURE_URL`, `PERDURE_API_KEY`, `PERDURE_CLUSTER_ID`, then from the stack
    that `perdure dev` runs in this folder. `transport` replaces the network, for tests; `patience` is for how
    many seconds a request is repeated while the API is away. Raises `ConfigurationError`.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        cluster_id: str | None = None,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        patience: float = PATIENCE,
    ) -> None:
        connection = find_connection(url, api_key, cluster_id)
        self.transport = Transport(connection, transport=transport, patience=patience)
        self._cluster_id = connection.cluster_id

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self.transport.aclose()

    @overload
    async def create_run(
        self,
        prompt: str,
        *,
        result_schema: type[T] | TypeAdapter[T],
        **options: Unpack[RunOptions],
    ) -> AsyncRun[T]: ...
    @overload
    async def create_run(
        self,
        prompt: str,
        *,
        result_schema: JsonSchema | None = None,
        **options: Unpack[RunOptions],
    ) -> AsyncRun[JsonValue]: ...
    async def create_run(
        self, prompt: str, *, result_schema: object = None, **options: Unpack[RunOptions]
    ) -> AsyncRun[Any]:
        """Start a run; when this returns it is kept, whatever dies.

        `result_schema` is a pydantic model, any other type, a TypeAdapter (for unions), or a JSON Schema; the
        result has that type. The options are described at `RunOptions`. Raises `InvalidRequestError` that
        names the field, TypeError for a type without a JSON form, and as every request does
        `AuthenticationError`, `ConnectionFailedError`, `RateLimitedError`, `ServerError`.
        """
        reader = reader_for(result_schema)
        key = _idempotency_key(options)
        response = await self.transport.send(
            "POST",
            await self._path("/runs"),
            body=_run_request(prompt, reader.schema, options),
            headers={"Idempotency-Key": key},
        )
        return AsyncRun(self.transport, read_reply(RunSnapshot, response), reader)

    @overload
    async def get_run(
        self, run_id: str, *, result_schema: type[T] | TypeAdapter[T]
    ) -> AsyncRun[T]: ...
    @overload
    async def get_run(self, run_id: str) -> AsyncRun[JsonValue]: ...
    async def get_run(self, run_id: str, *, result_schema: object = None) -> AsyncRun[Any]:
        """A run by its id, its result read as `result_schema`. Raises `NotFoundError`."""
        path = await self._path(f"/runs/{quote(run_id, safe='')}")
        snapshot = read_reply(RunSnapshot, await self.transport.send("GET", path))
        return AsyncRun(self.transport, snapshot, reader_for(result_schema))

    async def list_runs(
        self,
        *,
        status: RunStatus | str | None = None,
        metadata: Mapping[str, str] | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[AsyncRun[JsonValue], None]:
        """Runs, newest first, at most `limit`; page by page as they are asked for."""
        path = await self._path("/runs")
        query: dict[str, QueryValue] = {
            "status": None if status is None else RunStatus(status).value,
            "metadata": [_pair(key, value) for key, value in (metadata or {}).items()],
        }
        left = limit
        while left is None or left > 0:
            query["limit"] = _PAGE if left is None else min(_PAGE, left)
            response = await self.transport.send("GET", path, query=query)
            page = read_reply(RunPage, response)
            for snapshot in page.items[:left]:
                yield AsyncRun(self.transport, snapshot, UNTYPED)
            if page.next_cursor is None:
                return
            query["cursor"] = page.next_cursor
            left = None if left is None else left - len(page.items)

    async def cancel_run(self, run_id: str, reason: str | None = None) -> RunSnapshot:
        """Stop a run by its id; see `AsyncRun.cancel`."""
        return await (await self.get_run(run_id)).cancel(reason)

    async def services(self) -> list[ServiceDescription]:
        """What the cluster offers, and how many function workers offer it at the moment."""
        path = await self._path("/services")
        services: list[ServiceDescription] = []
        cursor: str | None = None
        while True:
            response = await self.transport.send("GET", path, query={"cursor": cursor})
            page = read_reply(ServicePage, response)
            services += page.items
            cursor = page.next_cursor
            if cursor is None:
                return services

    async def identity(self) -> Identity:
        """Whose key this is."""
        return read_reply(Identity, await self.transport.send("GET", "/me"))

    async def cluster_id(self) -> str:
        """The cluster of this client; asked of the server once, where it was not given."""
        if self._cluster_id is None:
            self._cluster_id = (await self.identity()).cluster_id
        return self._cluster_id

    async def _path(self, rest: str) -> str:
        return f"/clusters/{quote(await self.cluster_id(), safe='')}{rest}"


class Perdure:
    """The client for code that is not async: `AsyncPerdure` on a thread in the background.

    Use it with `with` or `close`, from any number of threads. Arguments and errors are those of `AsyncPerdure`.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        cluster_id: str | None = None,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.aio = AsyncPerdure(url, api_key, cluster_id, transport=transport, patience=patience)
        self.portal = Portal()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the thread. May be called again."""
        if not self._closed:
            self._closed = True
            self.portal.call(self.aio.aclose())
            self.portal.close()

    @overload
    def create_run(
        self,
        prompt: str,
        *,
        result_schema: type[T] | TypeAdapter[T],
        **options: Unpack[RunOptions],
    ) -> Run[T]: ...
    @overload
    def create_run(
        self,
        prompt: str,
        *,
        result_schema: JsonSchema | None = None,
        **options: Unpack[RunOptions],
    ) -> Run[JsonValue]: ...
    def create_run(
        self, prompt: str, *, result_schema: Any = None, **options: Unpack[RunOptions]
    ) -> Run[Any]:
        """Start a run; see `AsyncPerdure.create_run`."""
        created = self.aio.create_run(prompt, result_schema=result_schema, **options)
        return Run(self.portal, self.portal.call(created))

    @overload
    def get_run(self, run_id: str, *, result_schema: type[T] | TypeAdapter[T]) -> Run[T]: ...
    @overload
    def get_run(self, run_id: str) -> Run[JsonValue]: ...
    def get_run(self, run_id: str, *, result_schema: Any = None) -> Run[Any]:
        """A run by its id, its result read as `result_schema`. Raises `NotFoundError`."""
        found = self.aio.get_run(run_id, result_schema=result_schema)
        return Run(self.portal, self.portal.call(found))

    def list_runs(
        self,
        *,
        status: RunStatus | str | None = None,
        metadata: Mapping[str, str] | None = None,
        limit: int | None = None,
    ) -> Iterator[Run[JsonValue]]:
        """Runs, newest first; see `AsyncPerdure.list_runs`."""
        runs = self.aio.list_runs(status=status, metadata=metadata, limit=limit)
        return (Run(self.portal, run) for run in self.portal.iterate(runs))

    def cancel_run(self, run_id: str, reason: str | None = None) -> RunSnapshot:
        """Stop a run by its id; see `AsyncRun.cancel`."""
        return self.portal.call(self.aio.cancel_run(run_id, reason))

    def services(self) -> list[ServiceDescription]:
        """What the cluster offers, and how many function workers offer it at the moment."""
        return self.portal.call(self.aio.services())

    def identity(self) -> Identity:
        """Whose key this is."""
        return self.portal.call(self.aio.identity())


def _run_request(prompt: str, schema: JsonSchema | None, options: RunOptions) -> CreateRun:
    handler = options.get("on_status_change")
    functions = options.get("functions")
    return build(
        CreateRun,
        {
            "initial_prompt": prompt,
            "result_schema": schema,
            "attached_functions": None if functions is None else [_reference(f) for f in functions],
            "on_status_change": handler and {"function": _reference(handler)},
            "context": _as_json(options.get("context")),
            **{field: options.get(field) for field in _PASSED_ON},
        },
    )


def _idempotency_key(options: RunOptions) -> str:
    key = options.get("idempotency_key") or options.get("id") or uuid4().hex
    if len(key) > _LONGEST_KEY or not (key.isascii() and key.isprintable()):
        raise InvalidRequestError(
            422,
            "invalid_request",
            f"The request was not sent: an idempotency key has 1 to {_LONGEST_KEY} printable ASCII characters.",
        )
    return key


def _pair(key: str, value: str) -> str:
    escaped = key.replace("\\", "\\\\").replace(":", "\\:")
    return f"{escaped}:{value}"


def _as_json(context: Mapping[str, Any] | None) -> object:
    try:
        return to_jsonable_python(context)
    except PydanticSerializationError as error:
        raise InvalidRequestError(
            422, "invalid_request", f"The request was not sent: its context is not JSON ({error})."
        ) from error


_PASSED_ON = (
    "metadata",
    "system_prompt",
    "name",
    "model",
    "interactive",
    "call_summarization",
    "id",
)


def _reference(function: AttachedFunction) -> FunctionReference | str:
    return function.reference if isinstance(function, Function) else function
