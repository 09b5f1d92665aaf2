"""Delivery routes: list the deliveries of a run's status changes, send one again."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from api.dependencies import KeyedRoute, Ref, Services
from api.http.openapi import problems
from api.http.pagination import MAX_VERSION, PageQuery, page_of, to_cursor
from api.http.responses import reply
from orchestrator.runtime.clock import to_datetime
from orchestrator.store.records import DeliveryRecord
from perdure.contract import Delivery, DeliveryKind, DeliveryPage, DeliveryStatus

router = APIRouter(
    prefix="/clusters/{clusterId}/runs/{runId}/deliveries",
    tags=["status changes"],
    route_class=KeyedRoute,
)


Transition = Annotated[
    int, Path(ge=1, le=MAX_VERSION, description="The transition's number, the last part of its id.")
]


@router.get(
    "",
    operation_id="list_deliveries",
    summary="List deliveries of status changes",
    response_model=DeliveryPage,
    responses=problems(404),
)
async def list_deliveries(
    ref: Ref, wanted: Annotated[PageQuery, Query()], services: Services
) -> Response:
    """Return the deliveries to the run's handler or webhook, sent and pending, in order of transition, paginated."""
    after = min(wanted.number() or 0, MAX_VERSION)
    found = await services.store.deliveries.page(ref, after=after, limit=wanted.fetch)
    page, next_cursor = page_of(found, wanted, lambda last: to_cursor(last.transition))
    return reply(
        DeliveryPage(
            items=[_present(ref.run_id, record) for record in page],
            next_cursor=next_cursor,
        )
    )


@router.post(
    "/{transition}/resend",
    operation_id="resend_delivery",
    summary="Send a status change again",
    response_model=Delivery,
    responses=problems(404, 409),
)
async def resend_delivery(ref: Ref, transition: Transition, services: Services) -> Response:
    """Send a finished delivery again, delivered or not: the same id, the same content, and up to 24 hours of attempts.
    It goes before later transitions that are pending.

    A pending delivery is a conflict (`delivery_is_pending`).
    """
    return reply(_present(ref.run_id, await services.operations.resend_delivery(ref, transition)))


def _present(run_id: str, record: DeliveryRecord) -> Delivery:
    return Delivery(
        id=f"{run_id}:{record.transition}",
        transition=record.transition,
        status=DeliveryStatus(record.status),
        kind=DeliveryKind.WEBHOOK if record.kind == "webhook" else DeliveryKind.FUNCTION,
        call_id=record.call_id,
        attempts=record.attempts,
        last_error=record.last_error,
        created_at=to_datetime(record.created_at),
        settled_at=None if record.settled_at is None else to_datetime(record.settled_at),
    )
