"""Operations on messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import Response

from api.context import services_of
from api.dialects.inferable.message_format import format_messages
from api.dialects.inferable.timeline import messages_after
from api.dialects.inferable.translation import (
    Body,
    Operation,
    all_pages,
    no_content,
    read_body,
    read_object,
    with_body,
)
from api.http.dialect import DialectRequest
from orchestrator.errors import NotFoundError
from orchestrator.workflows.interface import RunRef
from perdure.contract import CreateMessage

_FOLLOW_PARAMETERS = frozenset({"after", "waitTime"})
"""Parameters of later versions to follow a conversation."""
_MESSAGE_ID = re.compile(r"[0-9A-Za-z\-_.]{4,128}")


async def _list_messages(request: DialectRequest) -> Response:
    if _FOLLOW_PARAMETERS & request.query.keys():
        return await messages_after(request)
    native, found = await all_pages(request)
    return with_body(native, format_messages(found))


async def _create_message(request: DialectRequest) -> Response:
    native = await request.call_native()
    return no_content(native, HTTPStatus.CREATED)


async def _edit_message(request: DialectRequest) -> Response:
    """Edit a message; the same text restarts the run from it; an unknown id creates a message."""
    ref, message_id = _target(request)
    services = services_of(request.request)
    before = await services.store.runs.get(ref)
    try:
        native = await request.call_native()
    except NotFoundError:
        return await _add(request, ref, message_id)
    after = await services.store.runs.get(ref)
    if after.rewinds == before.rewinds:  # the text is the same: an edit means to try again
        await services.operations.retry_run(ref, message_id)
    message: Body = read_body(native)
    return with_body(native, {name: message[name] for name in ("id", "type", "data")})


async def _add(request: DialectRequest, ref: RunRef, message_id: str) -> Response:
    body = await read_object(request)
    if body is None or not _MESSAGE_ID.fullmatch(message_id):
        raise NotFoundError(f"The run has no message {message_id!r}.")
    wanted = CreateMessage(id=message_id, message=body["message"])
    await services_of(request.request).operations.add_message(ref, wanted)
    body_out = {"id": message_id, "type": "human", "data": {"message": wanted.message}}
    return with_body(Response(), body_out, HTTPStatus.OK)


def _target(request: DialectRequest) -> tuple[RunRef, str]:
    path = request.request.path_params
    return RunRef(path["clusterId"], path["runId"]), path["messageId"]


OPERATIONS: Mapping[str, Operation] = {
    "list_messages": _list_messages,
    "create_message": _create_message,
    "edit_message": _edit_message,
}
