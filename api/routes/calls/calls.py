"""Calls, from the side of people and programs: made directly, looked at, cancelled, and where a value came from."""

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
        description="Seconds to wait for the result. When they are over the answer is the call as it stands.",
    ),
]


async def _call_id_of(
    cluster_id: Cluster,  # noqa: ARG001 - whose key it is comes first
    call_id: Annotated[
        str,
        Path(alias="callId", max_length=256, pattern=r"^[^\x00]*$", description="The call's id."),
    ],
) -> str:
    return call_id


CallId = Annotated[str, Depends(_call_id_of)]
"""The call of the path, which need not exist."""


class ListReferencesQuery(PageQuery):
    """Which text to look for."""

    token: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_TOKEN,
            pattern=r"^[^\x00]*$",
            description="The text as it stands in a result, upper and lower case apart.",
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
    """Call a function without a model, private ones too. Accepted means kept: the call is made as soon as a function
    worker comes, and its id finds it whatever dies meanwhile.
    """
    call_id = await services.operations.create_call(
        cluster_id, request, idempotency_key=idempotency_key, end_user=end_user
    )
    shown = await services.store.call_queries.get(cluster_id, call_id)
    return reply(present_call(await wait_for_result(services, shown, seconds=wait)), 201)


@router.get(
    "/calls/{callId}",
    operation_id="get_call",
    summary="Look at a call, or wait for its result",
    response_model=Call,
    responses=problems(404),
)
async def get_call(
    cluster_id: Cluster, call_id: CallId, services: Services, wait: Wait = 0
) -> Response:
    """The call as it stands; with `wait`, as soon as it has its result."""
    shown = await services.store.call_queries.get(cluster_id, call_id)
    return reply(present_call(await wait_for_result(services, shown, seconds=wait)))


@router.get(
    "/calls/{callId}/result",
    operation_id="get_call_result",
    summary="Read a call's whole result",
    response_class=Response,
    responses={
        200: {
            "description": "The result as the function gave it.",
            "content": {"application/json": {"schema": {}}},
        },
        **problems(404, 409),
    },
)
async def get_call_result(cluster_id: Cluster, call_id: CallId, services: Services) -> Response:
    """The original, however long, as JSON. 409 (`no_result`) while there is none."""
    original = await services.store.call_queries.original(cluster_id, call_id)
    text = to_json(original.content) if original.is_text else original.content
    return Response(text, media_type="application/json")


@router.post(
    "/calls/{callId}/cancel",
    operation_id="cancel_call",
    summary="Give a call up",
    response_model=Call,
    responses=problems(404, 409, body=True),
)
async def cancel_call(
    cluster_id: Cluster, call_id: CallId, services: Services, request: CancelCall | None = None
) -> Response:
    """Reject the call in its function's place: the model is told and goes on; a direct call ends cancelled.

    A function at work learns it by the answer to its next heartbeat; what it returns then is refused. 409 where the
    call has its result, or was cancelled before.
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
    """The calls of a run's model, in the order in which they were made. Results over 10,000 characters are left out."""
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
    summary="Find where a value came from",
    response_model=CallPage,
    responses=problems(404),
)
async def list_references(
    ref: Ref, wanted: Annotated[ListReferencesQuery, Query()], services: Services
) -> Response:
    """The run's calls whose result contains a text, the newest first. Results over 10,000 characters are left out."""
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
