"""The timeline of a run: messages, events and calls after given ones, or a wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from fastapi import Response
from pydantic import BaseModel

from api.context import ApiServices, services_of
from api.dialects.inferable.call_format import format_blob, format_job
from api.dialects.inferable.event_format import format_event, parse_version
from api.dialects.inferable.message_format import format_messages
from api.dialects.inferable.run_format import format_run
from api.dialects.inferable.translation import Body, Operation, with_body
from api.http.dialect import DialectRequest
from api.routes.long_poll import next_version
from api.routes.serializers import present_call, present_event, present_message, present_run
from orchestrator.store.calls.queries import CallView
from orchestrator.workflows.interface import RunRef
from perdure.contract import MAX_CALL_WAIT_SECONDS

LONG_POLL_SECONDS = MAX_CALL_WAIT_SECONDS
"""Seconds that a request waits if there is nothing new."""
_PAGE = 500
_NOTHING_SEEN = "0"

T = TypeVar("T")


async def _get_timeline(request: DialectRequest) -> Response:
    async def read_new(services: ApiServices, ref: RunRef) -> tuple[bool, Body]:
        page = await _read_page(request, services, ref)
        return bool(page["messages"] or page["activity"] or page["jobs"]), page

    return with_body(Response(), await _long_poll(request, read_new, LONG_POLL_SECONDS))


async def messages_after(request: DialectRequest) -> Response:
    """The conversation after a message, for later versions: waits at most `waitTime` seconds."""
    query = request.query

    async def read_new(services: ApiServices, ref: RunRef) -> tuple[bool, list[Body]]:
        found = await _messages(services, ref, query.get("after", _NOTHING_SEEN))
        return bool(found), found[: _number(query.get("limit"), 50) or 50]

    wait = min(_number(query.get("waitTime"), 0), LONG_POLL_SECONDS)
    return with_body(Response(), await _long_poll(request, read_new, wait))


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isdecimal() and len(text) < len("1000000") else default


async def _long_poll(
    request: DialectRequest,
    read: Callable[[ApiServices, RunRef], Awaitable[tuple[bool, T]]],
    seconds: float,
) -> T:
    """The timeline as soon as there is something new, or after the timeout."""
    services = services_of(request.request)
    path = request.request.path_params
    ref = RunRef(path["clusterId"], path["runId"])
    clock = asyncio.get_running_loop().time
    until = clock() + min(seconds, services.settings.max_wait_seconds)
    while True:
        run = await services.store.runs.get(ref)
        is_new, seen = await read(services, ref)
        remaining = until - clock()
        if is_new or remaining <= 0 or services.stopping.is_set():
            return seen
        await next_version(services, run.key, run.version, remaining)


async def _read_page(request: DialectRequest, services: ApiServices, ref: RunRef) -> Body:
    query = request.query
    after = parse_version(query.get("activityAfter", _NOTHING_SEEN))
    page = await services.store.timeline.page(ref, after=after, limit=_PAGE)
    after_call = query.get("jobsAfter", _NOTHING_SEEN)
    new_calls = await services.store.timeline.calls_after(ref, after_call, limit=_PAGE)
    # A client that follows events also gets earlier calls that have changed.
    calls = [_wire(present_call(one)) for one in _merge(new_calls, page.calls if after else ())]
    return {
        "messages": await _messages(services, ref, query.get("messagesAfter", _NOTHING_SEEN)),
        "activity": [
            format_event(_wire(present_event(one)), ref.run_id, with_meta=False)
            for one in page.events
        ],
        "jobs": [format_job(call) for call in calls],
        "run": format_run(_wire(present_run(page.run))),
        "blobs": [format_blob(blob, ref.run_id) for call in calls for blob in call["blobs"]],
    }


def _merge(some: Sequence[CallView], others: Sequence[CallView]) -> list[CallView]:
    both = {one.call.key: one for one in (*some, *others)}
    return [both[key] for key in sorted(both)]


async def _messages(services: ApiServices, ref: RunRef, message_id: str) -> list[Body]:
    found = await services.store.timeline.messages_after(ref, message_id, limit=_PAGE)
    return format_messages([_wire(present_message(one)) for one in found])


def _wire(model: BaseModel) -> Body:
    return model.model_dump(mode="json", by_alias=True)


OPERATIONS: Mapping[str, Operation] = {"get_timeline": _get_timeline}
