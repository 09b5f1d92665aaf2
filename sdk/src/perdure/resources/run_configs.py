"""Run configurations: stored, versioned, searched, measured."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, TypedDict, Unpack

from pydantic import TypeAdapter

from perdure.contract import (
    CreateRunConfig,
    FoundRunConfig,
    FoundRunConfigs,
    PutRunConfig,
    RunConfig,
    RunConfigMetric,
    RunConfigMetrics,
)
from perdure.functions.references import AttachedFunction, to_attachment
from perdure.http.cluster_api import OfCluster, PageOf
from perdure.http.json_codec import build
from perdure.resources.results import JsonSchema, reader_for
from perdure.sync.proxy import SyncProxy, sync_iterator, sync_method

Schema = type[Any] | TypeAdapter[Any] | JsonSchema
"""A pydantic model or any other type, a TypeAdapter, or a JSON Schema."""


class RunConfigOptions(TypedDict, total=False):
    """The content of a run configuration. The request for a run may set what it leaves out.

    - `initial_prompt`: `{{name}}` stands for the input `name`.
    - `system_prompt`; `functions`: an empty list means none at all.
    - `result_schema`: the type of a run's result; `input_schema`: the type of a run's `input`, an object.
    """

    initial_prompt: str | None
    system_prompt: str | None
    functions: Sequence[AttachedFunction] | None
    result_schema: Schema | None
    input_schema: Schema | None
    public: bool


class AsyncRunConfigs(OfCluster):
    """The cluster's run configurations."""

    async def create(
        self,
        name: str,
        *,
        id: str | None = None,  # noqa: A002 - the wire's word
        **options: Unpack[RunConfigOptions],
    ) -> RunConfig:
        """Create a configuration with your own id (6 to 128 letters, digits, `_`, `-`) or the server's; its version is 1.

        Raises `ConflictError` for an id that exists, `InvalidRequestError` that names the field.
        """
        body = build(CreateRunConfig, {"name": name, "id": id, **_fields(options)})
        return await self._api.read(RunConfig, "POST", "run-configs", body=body, repeatable=False)

    async def put(
        self, config_id: str, name: str, **options: Unpack[RunConfigOptions]
    ) -> RunConfig:
        """Create the configuration's next version, or its first. It contains only what is given here.

        Earlier versions are kept, and runs can still use them.
        """
        body = build(PutRunConfig, {"name": name, **_fields(options)})
        return await self._api.read(RunConfig, "PUT", "run-configs", config_id, body=body)

    async def get(self, config_id: str, *, with_previous_versions: bool = False) -> RunConfig:
        """Get a configuration in its current version. Raises `NotFoundError`."""
        query = {"withPreviousVersions": "true"} if with_previous_versions else None
        return await self._api.read(RunConfig, "GET", "run-configs", config_id, query=query)

    async def list(self, *, limit: int | None = None) -> AsyncGenerator[RunConfig, None]:
        """All configurations, ordered by id."""
        async for config in self._api.pages(PageOf[RunConfig], "run-configs", limit=limit):
            yield config

    async def search(self, words: str) -> Sequence[FoundRunConfig]:
        """The ten best matches by names, prompts and inputs, best first, with their scores."""
        found = await self._api.read(
            FoundRunConfigs, "GET", "run-configs", "search", query={"search": words}
        )
        return found.items

    async def metrics(self, config_id: str) -> Sequence[RunConfigMetric]:
        """Metrics of its runs, newest first, at most 1,000."""
        found = await self._api.read(RunConfigMetrics, "GET", "run-configs", config_id, "metrics")
        return found.items

    async def delete(self, config_id: str) -> None:
        """Delete the configuration. Runs that used it keep their reference."""
        await self._api.send("DELETE", "run-configs", config_id)


class RunConfigs(SyncProxy[AsyncRunConfigs]):
    """The synchronous form of `AsyncRunConfigs`."""

    create = sync_method(AsyncRunConfigs.create)
    put = sync_method(AsyncRunConfigs.put)
    get = sync_method(AsyncRunConfigs.get)
    list = sync_iterator(AsyncRunConfigs.list)
    search = sync_method(AsyncRunConfigs.search)
    metrics = sync_method(AsyncRunConfigs.metrics)
    delete = sync_method(AsyncRunConfigs.delete)


def _fields(options: RunConfigOptions) -> dict[str, object]:
    functions = options.get("functions")
    return {
        "initial_prompt": options.get("initial_prompt"),
        "system_prompt": options.get("system_prompt"),
        "attached_functions": None
        if functions is None
        else [to_attachment(one) for one in functions],
        "result_schema": reader_for(options.get("result_schema")).schema,
        "input_schema": reader_for(options.get("input_schema")).schema,
        "public": options.get("public"),
    }
