"""Event route for all runs of a cluster."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import ConfigDict, Field

from api.dependencies import Cluster, KeyedRoute, Services
from api.http.openapi import problems
from api.http.pagination import PageQuery, from_cursor, page_of, to_cursor
from api.http.responses import reply
from api.routes.serializers import present_event
from orchestrator.store.events.cluster_events import EventFilter
from perdure.contract import ClusterEvent, ClusterEventPage

router = APIRouter(tags=["events"], route_class=KeyedRoute)

_Word = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]


class ListClusterEvents(PageQuery):
    """Event filters. All given filters must match."""

    model_config = ConfigDict(populate_by_name=True)

    type: _Word | None = None
    run_id: Annotated[_Word | None, Field(alias="runId")] = None
    call_id: Annotated[_Word | None, Field(alias="callId")] = None
    machine_id: Annotated[_Word | None, Field(alias="machineId")] = None
    service: _Word | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 100

    def to_filter(self) -> EventFilter:
        """Convert to the store's query. It fetches one event more than the page size."""
        before = None
        if self.cursor is not None:
            created_at, run_key, version = from_cursor(self.cursor, parts=3)
            before = (created_at, run_key, version)
        return EventFilter(
            type=self.type,
            run_id=self.run_id,
            call_id=self.call_id,
            machine_id=self.machine_id,
            service=self.service,
            before=before,
            limit=self.fetch,
        )


@router.get(
    "/clusters/{clusterId}/events",
    operation_id="list_cluster_events",
    summary="Read the events of all runs",
    response_model=ClusterEventPage,
    responses=problems(404),
)
async def list_cluster_events(
    cluster_id: Cluster, wanted: Annotated[ListClusterEvents, Query()], services: Services
) -> Response:
    """Return the events of all runs, newest first. `machineId` and `service` match events that name them."""
    found = await services.store.events.page(cluster_id, wanted.to_filter())
    page, next_cursor = page_of(
        found,
        wanted,
        lambda last: to_cursor(last[1].created_at, last[1].run_key, last[1].version),
    )
    return reply(
        ClusterEventPage(
            items=[
                ClusterEvent(run_id=run_id, **present_event(record).model_dump())
                for run_id, record in page
            ],
            next_cursor=next_cursor,
        )
    )
