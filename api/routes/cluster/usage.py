"""Usage route of a cluster."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.dependencies import Cluster, KeyedRoute, Services
from api.http.openapi import problems
from api.http.responses import reply
from orchestrator.runtime.clock import now_ms
from orchestrator.store.tenants.usage import DAY_MS, DayUsage
from perdure.contract import UsageOfDay, UsageReport

router = APIRouter(tags=["clusters"], route_class=KeyedRoute)

_MICROS = 1_000_000


class UsageQuery(BaseModel):
    """Query parameters: the period."""

    model_config = ConfigDict(extra="forbid")

    days: Annotated[int, Field(ge=1, le=366, description="Days back from today, in UTC.")] = 60


@router.get(
    "/clusters/{clusterId}/usage",
    operation_id="get_usage",
    summary="Usage per day and model",
    response_model=UsageReport,
    responses=problems(404),
)
async def get_usage(
    cluster_id: Cluster, wanted: Annotated[UsageQuery, Query()], services: Services
) -> Response:
    """Return tokens, model calls, cost and runs per day (UTC) and model. Usage of deleted runs still counts."""
    found = await services.store.usage.days(cluster_id, since=now_ms() - (wanted.days - 1) * DAY_MS)
    return reply(UsageReport(items=[_present(usage) for usage in found]))


def _present(usage: DayUsage) -> UsageOfDay:
    return UsageOfDay(
        day=usage.day,
        model=usage.model,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        model_calls=usage.model_calls,
        cost_usd=usage.cost_micros / _MICROS,
        runs=usage.runs,
    )
