"""Operations on messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import Response

from api.context import services_of
from api.dialects.inferable.message_format import messages_of
from api.dialects.inferable.timeline import messages_after
from api.dialects.inferable.translation import (
    Body,
    Operation,
    all_pages,
    object_of,
    read,
    reword,
    silent,
)
from api.http.dialect import Question
from orchestrator.errors import NotFoundError
from orchestrator.workflows.interface import RunRef
from perdure.contract import CreateMessage

_LATER = frozenset({"after", "waitTime"})
"""Parameters by which later versions follow a conversation."""
_MESSAGE_ID = re.compile(r"[0-9A-Za-z\-_.]{4,128}")


async def _list_messages(question: Question) -> Response:
    if _LATER & question.query.keys():
        return await messages_after(question)
    native, found = await all_pages(question)
    return reword(native, messages_of(found))


async def _create_message(question: Question) -> Response:
    native = await question.put()
    return silent(native, HTTPStatus.CREATED)


async def _edit_message(question: Question) -> Response:
    """Edit a message; the same text has the run begin again from there; an unknown id writes a message."""
    ref, message_id = _place(question)
    services = services_of(question.request)
    before = await services.store.runs.get(ref)
    try:
        native = await question.put()
    except NotFoundError:
        return await _add(question, ref, message_id)
    after = await services.store.runs.get(ref)
    if after.rewinds == before.rewinds:  # the text is the same, and they edit to try again
        await services.operations.retry_run(ref, message_id)
    message: Body = read(native)
    return reword(native, {name: message[name] for name in ("id", "type", "data")})


async def _add(question: Question, ref: RunRef, message_id: str) -> Response:
    body = await object_of(question)
    if body is None or not _MESSAGE_ID.fullmatch(message_id):
        raise NotFoundError(f"The run has no message {message_id!r}.")
    wanted = CreateMessage(id=message_id, message=body["message"])
    await services_of(question.request).operations.add_message(ref, wanted)
    said = {"id": message_id, "type": "human", "data": {"message": wanted.message}}
    return reword(Response(), said, HTTPStatus.OK)


def _place(question: Question) -> tuple[RunRef, str]:
    path = question.request.path_params
    return RunRef(path["clusterId"], path["runId"]), path["messageId"]


OPERATIONS: Mapping[str, Operation] = {
    "list_messages": _list_messages,
    "create_message": _create_message,
    "edit_message": _edit_message,
}
