"""Event routes of a run: a list, and a stream of server-sent events, at one path.

`Accept: text/event-stream` selects the stream. Event ids are versions: a client that reconnects with
`Last-Event-ID` misses no event and gets none twice.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import Headers
from starlette.routing import Match
from starlette.types import Scope
from typing_extensions import override

from api.dependencies import KeyedRoute, Ref, Services
from api.http.openapi import problems
from api.http.pagination import MAX_VERSION
from api.http.responses import encode, reply
from api.routes.long_poll import next_version
from api.routes.serializers import present_event
from orchestrator.store.records import RunRecord
from perdure.contract import MAX_WAIT_SECONDS, EventPage

_PATH = "/clusters/{clusterId}/runs/{runId}/events"
_STREAM_TYPE = "text/event-stream"
_BATCH = 200
_RECONNECT_MS = 500

router = APIRouter(tags=["events"], route_class=KeyedRoute)


class _StreamRoute(KeyedRoute):
    """A route that matches only requests for a stream; others go to the route with the same path."""

    @override
    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and _STREAM_TYPE in Headers(scope=scope).get("accept", ""):
            return super().matches(scope)
        return Match.NONE, {}


streams = APIRouter(route_class=_StreamRoute)


class ListEvents(BaseModel):
    """Query parameters of events."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[int, Field(ge=0, le=MAX_VERSION, description="The version last seen.")] = 0
    limit: Annotated[
        int, Field(ge=1, le=1_000, description="For a page; ignored by the stream.")
    ] = 100
    follow: Annotated[
        bool, Field(description="Stream only: stay connected after the turn has ended.")
    ] = False


LastEventId = Annotated[
    int | None,
    Header(
        alias="Last-Event-ID",
        ge=0,
        le=MAX_VERSION,
        description="The same as `after`; takes precedence over it.",
    ),
]


async def _existing_run(ref: Ref, services: Services) -> RunRecord:
    """The run, read before the stream begins, while an error can still be answered."""
    return await services.store.runs.get(ref)


@streams.get(
    _PATH,
    operation_id="stream_events",
    response_class=EventSourceResponse,
    include_in_schema=False,
)
async def stream_events(
    run: Annotated[RunRecord, Depends(_existing_run)],
    wanted: Annotated[ListEvents, Query()],
    services: Services,
    last_event_id: LastEventId = None,
) -> AsyncGenerator[ServerSentEvent, None]:
    """Stream events as they happen, until the turn has ended and all its events are sent, or without end (`follow`)."""
    position = wanted.after if last_event_id is None else last_event_id
    patience = min(MAX_WAIT_SECONDS, services.settings.max_wait_seconds)
    while not services.stopping.is_set():
        news = await services.store.events.new_events(run.key, after=position, limit=_BATCH)
        if news is None:  # deleted meanwhile: there are no further events
            return
        for record in news.events:
            position = record.version
            yield ServerSentEvent(raw_data=encode(present_event(record)).decode(), id=str(position))
        if position < news.version:
            continue
        if news.is_final and not wanted.follow:
            return
        await next_version(services, run.key, position, patience)
    yield ServerSentEvent(comment="the server shuts down; connect again", retry=_RECONNECT_MS)


_STREAM_DOC: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            _STREAM_TYPE: {
                "schema": {
                    "type": "string",
                    "description": "One server-sent event per event of the run: `id` is its version, `data` an "
                    "`Event` as JSON. Comments keep the connection alive.",
                }
            }
        }
    }
}


@router.get(
    _PATH,
    operation_id="list_events",
    summary="List a run's events, or stream them",
    response_model=EventPage,
    responses={**_STREAM_DOC, **problems(404)},
)
async def list_events(
    ref: Ref,
    wanted: Annotated[ListEvents, Query()],
    services: Services,
    last_event_id: LastEventId = None,
) -> Response:
    """Return events after a version, in order. With `Accept: text/event-stream` they are streamed as they happen; the
    stream ends when the turn has ended, unless `follow=true`.
    """
    after = wanted.after if last_event_id is None else last_event_id
    found = await services.store.runs.events(ref, after=after, limit=wanted.limit + 1)
    page = found[: wanted.limit]
    return reply(
        EventPage(
            items=[present_event(record) for record in page],
            version=page[-1].version if page else after,
            has_more=len(found) > wanted.limit,
        )
    )
