"""Timeline route of a run: its state and news in one response, for user interfaces."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.dependencies import KeyedRoute, Ref, Services
from api.http.openapi import problems
from api.http.pagination import MAX_VERSION
from api.http.responses import reply
from api.routes.long_poll import wait_for_change
from api.routes.serializers import present_call, present_event, present_message, present_run
from orchestrator.store.events.timeline import TimelinePage
from perdure.contract import Timeline

router = APIRouter(prefix="/clusters/{clusterId}/runs", tags=["runs"], route_class=KeyedRoute)

MAX_WAIT = 20
"""Maximum wait in seconds."""


class GetTimelineQuery(BaseModel):
    """Query parameters of the timeline."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[int, Field(ge=0, le=MAX_VERSION, description="The `version` last seen.")] = 0
    wait: Annotated[
        float, Field(ge=0, le=MAX_WAIT, description="Seconds to wait for an event.")
    ] = 0
    limit: Annotated[int, Field(ge=1, le=500, description="Events of a page.")] = 100


@router.get(
    "/{runId}/timeline",
    operation_id="get_timeline",
    summary="Get a run's timeline, or wait for an event",
    response_model=Timeline,
    responses=problems(404),
)
async def get_timeline(
    ref: Ref, wanted: Annotated[GetTimelineQuery, Query()], services: Services
) -> Response:
    """Return the run, its events after a version, and the current messages, calls and blobs that they are about.

    With `wait` it returns as soon as there is an event. After `message.edited` or `run.retried`, messages that were
    returned earlier may be replaced: read the conversation again.
    """
    store = services.store
    if wanted.wait:
        run = await store.runs.get(ref)
        await wait_for_change(services, run, after=wanted.after, seconds=wanted.wait)
    page = await store.timeline.page(ref, after=wanted.after, limit=wanted.limit)
    return reply(_present(page, wanted.after))


def _present(page: TimelinePage, after: int) -> Timeline:
    calls = [present_call(shown) for shown in page.calls]
    return Timeline(
        run=present_run(page.run),
        activity=[present_event(record) for record in page.events],
        messages=[present_message(record) for record in page.messages],
        calls=calls,
        blobs=[blob for call in calls for blob in call.blobs],
        version=page.events[-1].version if page.events else after,
        has_more=page.more,
    )
