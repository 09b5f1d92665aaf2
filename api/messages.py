"""Messages of a run: read the conversation, add a follow-up."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.cursors import MAX_CURSOR, from_cursor, to_cursor
from api.deps import KeyedRoute, Ref, Services
from api.openapi import problems
from api.presentation import present_message
from api.replies import reply
from perdure.contract import CreateMessage, Message, MessagePage

router = APIRouter(
    prefix="/clusters/{clusterId}/runs/{runId}/messages",
    tags=["messages"],
    route_class=KeyedRoute,
)


class ListMessages(BaseModel):
    """Which page of a conversation."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=100)] = 50
    cursor: Annotated[
        str | None, Field(max_length=MAX_CURSOR, description="`nextCursor` of the page before.")
    ] = None


@router.get(
    "",
    operation_id="list_messages",
    summary="Read a run's conversation",
    response_model=MessagePage,
    responses=problems(404),
)
async def list_messages(
    ref: Ref, wanted: Annotated[ListMessages, Query()], services: Services
) -> Response:
    """Messages, oldest first, a page at a time."""
    (after,) = (0,) if wanted.cursor is None else from_cursor(wanted.cursor, parts=1)
    found = await services.store.messages.page(ref, after=after, limit=wanted.limit + 1)
    page = found[: wanted.limit]
    return reply(
        MessagePage(
            items=[present_message(record) for record in page],
            next_cursor=to_cursor(page[-1].key) if len(found) > wanted.limit else None,
        )
    )


@router.post(
    "",
    operation_id="create_message",
    summary="Add a follow-up",
    status_code=201,
    response_model=Message,
    responses=problems(404, 409, body=True),
)
async def create_message(ref: Ref, request: CreateMessage, services: Services) -> Response:
    """Add a message to an interactive run. While the run is busy it is queued, in order; after done or failed it
    begins the next turn. The same `id` again returns the same message.
    """
    record, _ = await services.operations.add_message(ref, request)
    return reply(present_message(record), 201)
