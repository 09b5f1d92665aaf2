"""The client: `AsyncPerdure`, and `Perdure`, its synchronous form."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, overload

import httpx2
from pydantic import JsonValue, TypeAdapter

from perdure.contract import Run as RunSnapshot, RunStatus
from perdure.functions.references import AttachedFunction, NamedFunction
from perdure.http.cluster_api import ClusterApi, PageOf
from perdure.http.connection import find_connection
from perdure.http.transport import PATIENCE, QueryValue, Transport
from perdure.resources.call_handle import Call
from perdure.resources.calls import AsyncCalls, CallOptions
from perdure.resources.cluster_activity import AsyncClusterActivity
from perdure.resources.clusters import (
    ApiKeys,
    AsyncApiKeys,
    AsyncClusters,
    AsyncFunctionNotes,
    AsyncWebhookSecrets,
    Clusters,
    FunctionNotes,
    WebhookSecrets,
)
from perdure.resources.results import UNTYPED, JsonSchema, reader_for
from perdure.resources.run_configs import AsyncRunConfigs, RunConfigs
from perdure.resources.run_options import RunOptions, run_idempotency_key, run_request
from perdure.resources.runs import AsyncRun, Run
from perdure.resources.structured_output import AsyncStructuredOutput
from perdure.sync.loop_thread import Portal
from perdure.sync.proxy import SyncProxy, sync_iterator, sync_method

__all__ = ["AsyncPerdure", "AttachedFunction", "Perdure", "RunOptions"]

T = TypeVar("T")


class AsyncPerdure(AsyncCalls, AsyncClusterActivity, AsyncStructuredOutput):
    """A client of one cluster; use it from one event loop, with `async with` or `aclose`.

    Defaults come from `PERDURE_URL`, `PERDURE_API_KEY`, `PERDURE_CLUSTER_ID`, then from the stack
    that `perdure dev` runs in this folder. `custom_token` replaces the key by a token of one of your users, which
    the cluster's auth function verifies; give the cluster then. `transport` replaces the network, for tests;
    `patience` is the number of seconds for which requests are repeated while the API is unavailable. Raises
    `ConfigurationError`.

    Resources besides runs and calls: `run_configs`, `clusters`, `api_keys`, `webhook_secrets`,
    `function_notes`.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        cluster_id: str | None = None,
        *,
        custom_token: str | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        patience: float = PATIENCE,
    ) -> None:
        connection = find_connection(url, api_key, cluster_id, custom_token=custom_token)
        self.transport = Transport(connection, transport=transport, patience=patience)
        super().__init__(ClusterApi(self.transport, connection.cluster_id))
        self.run_configs = AsyncRunConfigs(self._api)
        self.clusters = AsyncClusters(self._api)
        self.api_keys = AsyncApiKeys(self._api)
        self.webhook_secrets = AsyncWebhookSecrets(self._api)
        self.function_notes = AsyncFunctionNotes(self._api)

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
        prompt: str | None = None,
        *,
        result_schema: type[T] | TypeAdapter[T],
        **options: Unpack[RunOptions],
    ) -> AsyncRun[T]: ...
    @overload
    async def create_run(
        self,
        prompt: str | None = None,
        *,
        result_schema: JsonSchema | None = None,
        **options: Unpack[RunOptions],
    ) -> AsyncRun[JsonValue]: ...
    async def create_run(
        self,
        prompt: str | None = None,
        *,
        result_schema: object = None,
        **options: Unpack[RunOptions],
    ) -> AsyncRun[Any]:
        """Start a run. It is stored durably when this returns.

        `prompt` is optional if a run configuration has one. `result_schema` is a pydantic model, any other
        type, a TypeAdapter (for unions), or a JSON Schema; the result has that type. The options are described at
        `RunOptions`. Raises `InvalidRequestError` that names the field, TypeError for a type without a JSON form,
        and as every request does `AuthenticationError`, `ConnectionFailedError`, `RateLimitedError`, `ServerError`.
        """
        reader = reader_for(result_schema)
        key = run_idempotency_key(options)
        snapshot = await self._api.read(
            RunSnapshot,
            "POST",
            "runs",
            body=run_request(prompt, reader.schema, options),
            headers={"Idempotency-Key": key},
        )
        return AsyncRun(self._api, snapshot, reader)

    @overload
    async def get_run(
        self, run_id: str, *, result_schema: type[T] | TypeAdapter[T]
    ) -> AsyncRun[T]: ...
    @overload
    async def get_run(self, run_id: str) -> AsyncRun[JsonValue]: ...
    async def get_run(self, run_id: str, *, result_schema: object = None) -> AsyncRun[Any]:
        """Get a run by its id; its result is parsed as `result_schema`. Raises `NotFoundError`."""
        snapshot = await self._api.read(RunSnapshot, "GET", "runs", run_id)
        return AsyncRun(self._api, snapshot, reader_for(result_schema))

    async def list_runs(
        self,
        *,
        status: RunStatus | str | None = None,
        metadata: Mapping[str, str] | None = None,
        tags: Sequence[str] = (),
        test: bool | None = False,
        config_id: str | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[AsyncRun[JsonValue], None]:
        """List runs, newest first, at most `limit`. Pages are fetched as needed.

        All pairs of `metadata` and all `tags` must match, at most 8 of each. Test runs are excluded; with
        `test=True` only they are listed, with None both.
        """
        query: dict[str, QueryValue] = {
            "status": None if status is None else RunStatus(status).value,
            "metadata": [_pair(key, value) for key, value in (metadata or {}).items()],
            "tag": list(tags),
            "test": {False: None, True: "true", None: "all"}[test],
            "configId": config_id,
        }
        pages = self._api.pages(PageOf[RunSnapshot], "runs", query=query, limit=limit)
        async for snapshot in pages:
            yield AsyncRun(self._api, snapshot, UNTYPED)

    async def cancel_run(self, run_id: str, reason: str | None = None) -> RunSnapshot:
        """Cancel a run by its id; see `AsyncRun.cancel`."""
        return await (await self.get_run(run_id)).cancel(reason)


class Perdure(SyncProxy[AsyncPerdure]):
    """The client for synchronous code: `AsyncPerdure` on a background thread.

    Use it with `with` or `close`, from any number of threads. Arguments and errors are those of `AsyncPerdure`.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        cluster_id: str | None = None,
        *,
        custom_token: str | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        patience: float = PATIENCE,
    ) -> None:
        aio = AsyncPerdure(
            *(url, api_key, cluster_id),
            custom_token=custom_token,
            transport=transport,
            patience=patience,
        )
        super().__init__(Portal(), aio)
        self.run_configs = RunConfigs(self.portal, aio.run_configs)
        self.clusters = Clusters(self.portal, aio.clusters)
        self.api_keys = ApiKeys(self.portal, aio.api_keys)
        self.webhook_secrets = WebhookSecrets(self.portal, aio.webhook_secrets)
        self.function_notes = FunctionNotes(self.portal, aio.function_notes)
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
        """Close the connections and end the thread. May be called repeatedly."""
        if not self._closed:
            self._closed = True
            self.portal.call(self.aio.aclose())
            self.portal.close()

    @overload
    def create_run(
        self,
        prompt: str | None = None,
        *,
        result_schema: type[T] | TypeAdapter[T],
        **options: Unpack[RunOptions],
    ) -> Run[T]: ...
    @overload
    def create_run(
        self,
        prompt: str | None = None,
        *,
        result_schema: JsonSchema | None = None,
        **options: Unpack[RunOptions],
    ) -> Run[JsonValue]: ...
    def create_run(
        self, prompt: str | None = None, *, result_schema: Any = None, **options: Unpack[RunOptions]
    ) -> Run[Any]:
        """Start a run; see `AsyncPerdure.create_run`."""
        created = self.aio.create_run(prompt, result_schema=result_schema, **options)
        return Run(self.portal, self.portal.call(created))

    @overload
    def get_run(self, run_id: str, *, result_schema: type[T] | TypeAdapter[T]) -> Run[T]: ...
    @overload
    def get_run(self, run_id: str) -> Run[JsonValue]: ...
    def get_run(self, run_id: str, *, result_schema: Any = None) -> Run[Any]:
        """Get a run by its id; its result is parsed as `result_schema`. Raises `NotFoundError`."""
        found = self.aio.get_run(run_id, result_schema=result_schema)
        return Run(self.portal, self.portal.call(found))

    def list_runs(
        self,
        *,
        status: RunStatus | str | None = None,
        metadata: Mapping[str, str] | None = None,
        tags: Sequence[str] = (),
        test: bool | None = False,
        config_id: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Run[JsonValue]]:
        """List runs, newest first; see `AsyncPerdure.list_runs`."""
        runs = self.aio.list_runs(
            status=status,
            metadata=metadata,
            tags=tags,
            test=test,
            config_id=config_id,
            limit=limit,
        )
        return (Run(self.portal, run) for run in self.portal.iterate(runs))

    @overload
    def call(
        self,
        function: NamedFunction,
        input: Mapping[str, Any] | None = None,
        *,
        result_type: type[T] | TypeAdapter[T],
        **options: Unpack[CallOptions],
    ) -> Call[T]: ...
    @overload
    def call(
        self,
        function: NamedFunction,
        input: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> Call[JsonValue]: ...
    def call(
        self,
        function: NamedFunction,
        input: Mapping[str, Any] | None = None,  # noqa: A002 - the wire's word
        *,
        result_type: Any = None,
        **options: Unpack[CallOptions],
    ) -> Call[Any]:
        """Call a function without a model; see `AsyncPerdure.call`."""
        made = self.aio.call(function, input, result_type=result_type, **options)
        return Call(self.portal, self.portal.call(made))

    @overload
    def get_call(self, call_id: str, *, result_type: type[T] | TypeAdapter[T]) -> Call[T]: ...
    @overload
    def get_call(self, call_id: str) -> Call[JsonValue]: ...
    def get_call(self, call_id: str, *, result_type: Any = None) -> Call[Any]:
        """Get a call by its id; its result is parsed as `result_type`. Raises `NotFoundError`."""
        found = self.aio.get_call(call_id, result_type=result_type)
        return Call(self.portal, self.portal.call(found))

    @overload
    def structured_output(
        self, prompt: str, result_schema: type[T] | TypeAdapter[T], *, model: str | None = None
    ) -> T: ...
    @overload
    def structured_output(
        self, prompt: str, result_schema: JsonSchema, *, model: str | None = None
    ) -> JsonValue: ...
    def structured_output(
        self, prompt: str, result_schema: Any, *, model: str | None = None
    ) -> Any:
        """Ask a model once for a value of a type; see `AsyncPerdure.structured_output`."""
        return self.portal.call(self.aio.structured_output(prompt, result_schema, model=model))

    cancel_run = sync_method(AsyncPerdure.cancel_run)
    approvals = sync_iterator(AsyncCalls.approvals)
    approve = sync_method(AsyncCalls.approve)
    deny = sync_method(AsyncCalls.deny)
    read_blob = sync_method(AsyncCalls.read_blob)
    services = sync_method(AsyncClusterActivity.services)
    machines = sync_iterator(AsyncClusterActivity.machines)
    events = sync_iterator(AsyncClusterActivity.events)
    usage = sync_method(AsyncClusterActivity.usage)
    audit = sync_iterator(AsyncClusterActivity.audit)
    identity = sync_method(AsyncClusterActivity.identity)
    cluster_id = sync_method(AsyncClusterActivity.cluster_id)


def _pair(key: str, value: str) -> str:
    escaped = key.replace("\\", "\\\\").replace(":", "\\:")
    return f"{escaped}:{value}"
