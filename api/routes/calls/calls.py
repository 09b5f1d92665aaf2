"""Call routes for clients: direct calls, reads, cancellation, and search for the origin of a value."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Depends, Header, Path, Query, Response
from fastapi.openapi.models import Example
from pydantic import Field

from api.dependencies import Cluster, CurrentEndUser, KeyedRoute, Ref, Services
from api.http.openapi import problems
from api.http.pagination import PageQuery, page_of, to_cursor
from api.http.responses import reply
from api.routes.long_poll import wait_for_result
from api.routes.serializers import present_call
from orchestrator.store.database.json_columns import to_json
from perdure.contract import (
    MAX_CALL_WAIT_SECONDS,
    MAX_TOKEN,
    Call,
    CallPage,
    CancelCall,
    CreateCall,
    Moment,
)

router = APIRouter(prefix="/clusters/{clusterId}", tags=["calls"], route_class=KeyedRoute)

_EXAMPLE: dict[str, Example] = {
    "lookup": {
        "summary": "A function with its input",
        "value": {
            "service": "sales",
            "function": "query_orders",
            "input": {"sql": "SELECT count(*) FROM orders"},
        },
    }
}
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=256,
        pattern=r"^[\x20-\x7e]+$",
        description="Sending the same request with the same key again returns the same call.",
    ),
]
Wait = Annotated[
    float,
    Query(
        ge=0,
        le=MAX_CALL_WAIT_SECONDS,
        description="Seconds to wait for the result. On timeout the response is the current state of the call.",
    ),
]


async def _call_id_of(
    cluster_id: Cluster,  # noqa: ARG001 - the cluster parameter precedes the call id
    call_id: Annotated[
        str,
        Path(alias="callId", max_length=256, pattern=r"^[^\x00]*$", description="The call's id."),
    ],
) -> str:
    return call_id


CallId = Annotated[str, Depends(_call_id_of)]
"""Reference to the call in the path. The call may not exist."""


class ListReferencesQuery(PageQuery):
    """Query parameters of the search for a text in results."""

    token: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_TOKEN,
            pattern=r"^[^\x00]*$",
            description="The exact text to find in results, case-sensitive.",
        ),
    ]
    before: Annotated[
        Moment | None, Field(description="Only calls that ended before this time.")
    ] = None


@router.post(
    "/calls",
    operation_id="create_call",
    summary="Call a function",
    status_code=201,
    response_model=Call,
    responses=problems(404, 409, body=True),
)
async def create_call(
    cluster_id: Cluster,
    request: Annotated[CreateCall, Body(openapi_examples=_EXAMPLE)],
    services: Services,
    *,
    end_user: CurrentEndUser,
    wait: Wait = 0,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Call a function without a model; private functions are allowed.

    An accepted call is stored durably. It runs as soon as a function worker is available, and survives process crashes.
    """
    call_id = await services.operations.create_call(
        cluster_id, request, idempotency_key=idempotency_key, end_user=end_user
    )
    shown = await services.store.call_queries.get(cluster_id, call_id)
    return reply(present_call(await wait_for_result(services, shown, seconds=wait)), 201)


@router.get(
    "/calls/{callId}",
    operation_id="get_call",
    summary="Get a call, or wait for its result",
    response_model=Call,
    responses=problems(404),
)
async def get_call(
    cluster_id: Cluster, call_id: CallId, services: Services, wait: Wait = 0
) -> Response:
    """Return the current state of the call; with `wait`, as soon as it has a result."""
    shown = await services.store.call_queries.get(cluster_id, call_id)
    return reply(present_call(await wait_for_result(services, shown, seconds=wait)))


@router.get(
    "/calls/{callId}/result",
    operation_id="get_call_result",
    summary="Read a call's whole result",
    response_class=Response,
    responses={
        200: {
            "description": "The result as the function returned it.",
            "content": {"application/json": {"schema": {}}},
        },
        **problems(404, 409),
    },
)
async def get_call_result(cluster_id: Cluster, call_id: CallId, services: Services) -> Response:
    """Return the complete original result as JSON. 409 (`no_result`) if there is no result yet."""
    original = await services.store.call_queries.original(cluster_id, call_id)
    text = to_json(original.content) if original.is_text else original.content
    return Response(text, media_type="application/json")


@router.post(
    "/calls/{callId}/cancel",
    operation_id="cancel_call",
    summary="Cancel a call",
    response_model=Call,
    responses=problems(404, 409, body=True),
)
async def cancel_call(
    cluster_id: Cluster, call_id: CallId, services: Services, request: CancelCall | None = None
) -> Response:
    """Cancel the call. The model receives a rejection and the run continues; a direct call ends as cancelled.

    A function that is running receives the cancellation in the response to its next heartbeat; its later result is
    rejected. 409 if the call already has a result or was already cancelled.
    """
    reason = None if request is None else request.reason
    await services.operations.cancel_call(cluster_id, call_id, reason)
    services.dispatcher.release()
    return reply(present_call(await services.store.call_queries.get(cluster_id, call_id)))


@router.get(
    "/runs/{runId}/calls",
    operation_id="list_run_calls",
    summary="List a run's calls",
    response_model=CallPage,
    responses=problems(404),
)
async def list_run_calls(
    ref: Ref, wanted: Annotated[PageQuery, Query()], services: Services
) -> Response:
    """Return the calls that the run's model requested, in order of creation. Results over 10,000 characters are omitted."""
    found = await services.store.call_queries.page(
        ref, after=wanted.number() or 0, limit=wanted.fetch
    )
    page, next_cursor = page_of(found, wanted, lambda last: to_cursor(last.call.key))
    return reply(
        CallPage(
            items=[present_call(shown) for shown in page],
            next_cursor=next_cursor,
        )
    )


@router.get(
    "/runs/{runId}/references",
    operation_id="list_references",
    summary="Find calls whose result contains a text",
    response_model=CallPage,
    responses=problems(404),
)
async def list_references(
    ref: Ref, wanted: Annotated[ListReferencesQuery, Query()], services: Services
) -> Response:
    """Return the run's calls whose result contains a text, newest first. Results over 10,000 characters are omitted."""
    before = None if wanted.before is None else int(wanted.before.timestamp() * 1000)
    found = await services.store.call_queries.references(
        ref, wanted.token, before=before, below=wanted.number(), limit=wanted.fetch
    )
    page, next_cursor = page_of(found, wanted, lambda last: to_cursor(last.call.key))
    return reply(
        CallPage(
            items=[present_call(shown) for shown in page],
            next_cursor=next_cursor,
        )
    )
