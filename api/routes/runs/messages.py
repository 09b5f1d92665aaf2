"""Message routes of a run: read the conversation, add a follow-up, edit a message."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from api.dependencies import KeyedRoute, Ref, Services
from api.http.openapi import problems
from api.http.pagination import PageQuery, page_of, to_cursor
from api.http.responses import reply
from api.routes.serializers import present_message, present_run
from perdure.contract import CreateMessage, EditMessage, Message, MessagePage, RetryRun, Run

router = APIRouter(
    prefix="/clusters/{clusterId}/runs/{runId}/messages",
    tags=["messages"],
    route_class=KeyedRoute,
)
retries = APIRouter(prefix="/clusters/{clusterId}/runs", tags=["runs"], route_class=KeyedRoute)


class ListMessages(PageQuery):
    """Query parameters of a conversation's page."""

    replaced: Annotated[
        Literal["false", "true", "all"],
        Field(description="`true`: messages that an edit or retry replaced; `all`: all messages."),
    ] = "false"

    def wants_replaced(self) -> bool | None:
        return None if self.replaced == "all" else self.replaced == "true"


MessageIdOfPath = Annotated[
    str,
    Path(
        alias="messageId",
        max_length=128,
        pattern=r"^[^\x00]*$",
        description="The message's id.",
    ),
]


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
    """Return the messages of the conversation, oldest first, paginated. Messages that an edit or a retry replaced are
    kept, and marked by `replacedBy`; the parameter `replaced` lists them.
    """
    found = await services.store.messages.page(
        ref, after=wanted.number() or 0, limit=wanted.fetch, replaced=wanted.wants_replaced()
    )
    page, next_cursor = page_of(found, wanted, lambda last: to_cursor(last.key))
    return reply(
        MessagePage(
            items=[present_message(record) for record in page],
            next_cursor=next_cursor,
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
    """Add a message to an interactive run. While the run is busy, it is queued in order; after done or failed, it
    begins the next turn. Sending the same `id` again returns the same message.
    """
    record, _ = await services.operations.add_message(ref, request)
    return reply(present_message(record), 201)


@router.put(
    "/{messageId}",
    operation_id="edit_message",
    summary="Edit a message and restart the run from it",
    response_model=Message,
    responses=problems(404, 409, body=True),
)
async def edit_message(
    ref: Ref, message_id: MessageIdOfPath, request: EditMessage, services: Services
) -> Response:
    """Change the text of a message that was sent to an interactive run. Later messages are replaced: kept and marked,
    but no longer part of the conversation. The run begins again from the message. The same text changes nothing.

    409: the run is not interactive, or cancelled; or the message was not sent by a caller, or is replaced itself.
    """
    record = await services.operations.edit_message(ref, message_id, request.message)
    return reply(present_message(record))


@retries.post(
    "/{runId}/retry",
    operation_id="retry_run",
    summary="Restart the run from a message",
    response_model=Run,
    responses=problems(404, 409, body=True),
)
async def retry_run(ref: Ref, services: Services, request: RetryRun | None = None) -> Response:
    """Replace the messages after a message, and restart the run from it: a run that is done or failed in its next turn,
    a running one at once. Replaced messages are kept and marked.

    409: the run is not interactive, or cancelled; or the message was not sent by a caller.
    """
    message_id = None if request is None else request.message_id
    return reply(present_run(await services.operations.retry_run(ref, message_id)))
