"""Approval routes: list the calls that await approval, and decide them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Path, Query, Response
from fastapi.openapi.models import Example

from api.access import actor_of
from api.dependencies import Cluster, Key, KeyedRoute, Services
from api.http.openapi import problems
from api.http.pagination import PageQuery, page_of, to_cursor
from api.http.responses import reply
from api.routes.serializers import present_approval
from orchestrator.runtime.clock import to_datetime
from orchestrator.store.calls.approvals import PendingCall
from orchestrator.store.database.json_columns import from_json
from perdure.contract import ApprovalPage, CallApproval, DecideCall, PendingApproval

router = APIRouter(prefix="/clusters/{clusterId}", tags=["approvals"], route_class=KeyedRoute)

CallId = Annotated[
    str,
    Path(alias="callId", max_length=256, pattern=r"^[^\x00]*$", description="The call's id."),
]
_DECISIONS: dict[str, Example] = {
    "approve": {"summary": "Approve", "value": {"approved": True}},
    "edit": {
        "summary": "Approve with other arguments",
        "value": {"approved": True, "input": {"amount": 50}, "reason": "Half of it is covered."},
    },
    "deny": {
        "summary": "Deny",
        "value": {"approved": False, "reason": "Refunds over 100 go to the back office."},
    },
}


@router.get(
    "/approvals",
    operation_id="list_approvals",
    summary="List pending approvals",
    response_model=ApprovalPage,
    responses=problems(404),
)
async def list_approvals(
    cluster_id: Cluster, wanted: Annotated[PageQuery, Query()], services: Services
) -> Response:
    """Return the calls that await approval, oldest first, paginated. Decided calls are not listed."""
    found = await services.store.approvals.page(
        cluster_id, after=wanted.number() or 0, limit=wanted.fetch
    )
    page, next_cursor = page_of(found, wanted, lambda last: to_cursor(last.call.key))
    return reply(
        ApprovalPage(
            items=[_present_pending(one) for one in page],
            next_cursor=next_cursor,
        )
    )


@router.post(
    "/calls/{callId}/approval",
    operation_id="decide_call",
    summary="Approve or deny a call",
    response_model=CallApproval,
    responses=problems(404, 409, body=True),
)
async def decide_call(
    cluster_id: Cluster,
    call_id: CallId,
    request: Annotated[DecideCall, Body(openapi_examples=_DECISIONS)],
    key: Key,
    services: Services,
) -> Response:
    """Approve or deny a call that awaits approval. The name of the API key is stored as the decider.

    An approved call runs, with `input` as its arguments if given. For a denied call, the model receives the denial
    and its reason. A call can be decided once: 409 with `already_decided`, `approval_expired`,
    `approval_not_requested`, `approval_closed` (the call was cancelled), `run_is_final`, or `function_not_registered`
    if `input` cannot be validated.
    """
    call = await services.operations.decide_call(cluster_id, call_id, request, by=actor_of(key))
    return reply(present_approval(call, call.approval_requested_at or 0))


def _present_pending(pending: PendingCall) -> PendingApproval:
    call = pending.call
    return PendingApproval(
        call_id=call.id,
        run_id=pending.run_id,
        run_name=pending.run_name,
        service=call.service,
        function=call.function,
        input=from_json(call.input),
        reasoning=call.reasoning,
        message=call.approval_message,
        requested_at=to_datetime(call.approval_requested_at or 0),
        expires_at=to_datetime(call.approval_expires_at or 0),
    )
