"""Run configuration routes: create, list, search, read, update, delete, metrics."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Depends, Path, Query, Response
from fastapi.openapi.models import Example
from pydantic import BaseModel, ConfigDict, Field

from api.dependencies import Cluster, KeyedRoute, Services
from api.http.openapi import problems
from api.http.pagination import TextPageQuery, page_of, to_text_cursor
from api.http.responses import reply
from orchestrator.operations.run_configs import RunConfigurations, config_from_record
from orchestrator.runtime.clock import to_datetime
from orchestrator.store.runs.configs import MeasuredRun, RunConfigRecord
from perdure.contract import (
    CreateRunConfig,
    FoundRunConfig,
    FoundRunConfigs,
    PutRunConfig,
    RunConfig,
    RunConfigId,
    RunConfigMetric,
    RunConfigMetrics,
    RunConfigPage,
    RunConfigVersion,
    RunStatus,
)

router = APIRouter(
    prefix="/clusters/{clusterId}/run-configs", tags=["run configurations"], route_class=KeyedRoute
)

_NO_NUL = r"^[^\x00]*$"
_MICROS = 1_000_000


async def _configurations(services: Services) -> RunConfigurations:
    return RunConfigurations(services.store)


Configurations = Annotated[RunConfigurations, Depends(_configurations)]
ConfigId = Annotated[
    str,
    Path(alias="configId", max_length=128, pattern=_NO_NUL, description="The configuration's id."),
]

_ANALYSIS: dict[str, Example] = {
    "analysis": {
        "summary": "A prompt with a place for an input",
        "value": {
            "name": "Growth of a customer",
            "initialPrompt": "How did {{customer}} grow this quarter, and why?",
            "attachedFunctions": ["sales_query_orders"],
            "inputSchema": {
                "type": "object",
                "properties": {"customer": {"type": "string"}},
                "required": ["customer"],
            },
        },
    }
}


class GetRunConfigQuery(BaseModel):
    """Query parameters of a run configuration."""

    model_config = ConfigDict(extra="forbid")

    with_previous_versions: Annotated[
        bool, Field(alias="withPreviousVersions", description="Include the previous versions.")
    ] = False


class SearchRunConfigs(BaseModel):
    """Query parameters of the search."""

    model_config = ConfigDict(extra="forbid")

    search: Annotated[
        str,
        Field(
            min_length=1,
            max_length=1_024,
            pattern=_NO_NUL,
            description="Words of names and prompts.",
        ),
    ]


@router.post(
    "",
    operation_id="create_run_config",
    summary="Keep a run configuration",
    status_code=201,
    response_model=RunConfig,
    responses=problems(404, 409, body=True),
)
async def create_run_config(
    cluster_id: Cluster,
    request: Annotated[CreateRunConfig, Body(openapi_examples=_ANALYSIS)],
    configurations: Configurations,
) -> Response:
    """Store a prompt, functions and schemas under an id, for runs with `config: {id, input}`. Its version is 1."""
    return reply(present(await configurations.create(cluster_id, request)), 201)


@router.get(
    "",
    operation_id="list_run_configs",
    summary="List run configurations",
    response_model=RunConfigPage,
    responses=problems(404),
)
async def list_run_configs(
    cluster_id: Cluster, wanted: Annotated[TextPageQuery, Query()], services: Services
) -> Response:
    """Return the run configurations, ordered by id, paginated."""
    found = await services.store.run_configs.page(
        cluster_id, after=wanted.text(), limit=wanted.fetch
    )
    page, next_cursor = page_of(found, wanted, lambda last: to_text_cursor(last.id))
    return reply(
        RunConfigPage(
            items=[present(record) for record in page],
            next_cursor=next_cursor,
        )
    )


@router.get(
    "/search",
    operation_id="search_run_configs",
    summary="Search run configurations",
    response_model=FoundRunConfigs,
    responses=problems(404),
)
async def search_run_configs(
    cluster_id: Cluster,
    wanted: Annotated[SearchRunConfigs, Query()],
    configurations: Configurations,
) -> Response:
    """Return the ten best matches by names, prompts and inputs, with their scores. Each has at least one word in common."""
    found = await configurations.search(cluster_id, wanted.search)
    return reply(
        FoundRunConfigs(
            items=[
                FoundRunConfig(**dict(present(record)), similarity=round(similarity, 4))
                for similarity, record in found
            ]
        )
    )


@router.get(
    "/{configId}",
    operation_id="get_run_config",
    summary="Get a run configuration",
    response_model=RunConfig,
    responses=problems(404),
)
async def get_run_config(
    cluster_id: Cluster,
    config_id: ConfigId,
    look: Annotated[GetRunConfigQuery, Query()],
    services: Services,
) -> Response:
    """Return the configuration, with its previous versions, newest first, if requested."""
    record = await services.store.run_configs.get(cluster_id, config_id)
    shown = present(record)
    if look.with_previous_versions:
        before = await services.store.run_configs.versions_before(record)
        shown = shown.model_copy(update={"versions": [present_version(one) for one in before]})
    return reply(shown)


@router.put(
    "/{configId}",
    operation_id="put_run_config",
    summary="Update a run configuration",
    response_model=RunConfig,
    responses=problems(404, body=True),
)
async def put_run_config(
    cluster_id: Cluster,
    config_id: Annotated[
        RunConfigId, Path(alias="configId", description="The configuration's id.")
    ],
    request: Annotated[PutRunConfig, Body(openapi_examples=_ANALYSIS)],
    configurations: Configurations,
) -> Response:
    """Create the next version, or the first. Earlier versions are kept, and runs can still use them."""
    return reply(present(await configurations.put(cluster_id, config_id, request)))


@router.delete(
    "/{configId}",
    operation_id="delete_run_config",
    summary="Delete a run configuration",
    status_code=204,
    response_class=Response,
    responses=problems(404),
)
async def delete_run_config(
    cluster_id: Cluster, config_id: ConfigId, services: Services
) -> Response:
    """No further runs can use it; earlier runs keep their reference."""
    await services.store.run_configs.delete(cluster_id, config_id)
    return Response(status_code=204)


@router.get(
    "/{configId}/metrics",
    operation_id="get_run_config_metrics",
    summary="Get metrics of a configuration's runs",
    response_model=RunConfigMetrics,
    responses=problems(404),
)
async def get_run_config_metrics(
    cluster_id: Cluster, config_id: ConfigId, services: Services
) -> Response:
    """Return its newest runs, at most 1,000, newest first, without test runs."""
    await services.store.run_configs.get(cluster_id, config_id)
    found = await services.store.run_configs.measured(cluster_id, config_id)
    return reply(RunConfigMetrics(items=[_metric(run) for run in found]))


def present(record: RunConfigRecord) -> RunConfig:
    """Convert a configuration to its wire model."""
    return RunConfig(
        **dict(present_version(record)),
        id=record.id,
        cluster_id=record.cluster_id,
        updated_at=to_datetime(record.updated_at),
    )


def present_version(record: RunConfigRecord) -> RunConfigVersion:
    """Convert one version."""
    content = config_from_record(record)
    return RunConfigVersion(
        **dict(content), version=record.version, created_at=to_datetime(record.created_at)
    )


def _metric(run: MeasuredRun) -> RunConfigMetric:
    return RunConfigMetric(
        run_id=run.id,
        version=run.config_version,
        status=RunStatus(run.status),
        created_at=to_datetime(run.created_at),
        time_to_completion=None if run.finished_at is None else run.finished_at - run.created_at,
        feedback_score=run.feedback_score,
        call_count=run.calls,
        call_failure_count=run.failed_calls,
        tokens=run.tokens,
        cost_usd=run.cost_micros / _MICROS,
    )
