"""Machine list route of a cluster."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from api.dependencies import Cluster, KeyedRoute, Services
from api.http.openapi import problems
from api.http.pagination import TextPageQuery, from_text_cursor, page_of, to_text_cursor
from api.http.responses import reply
from orchestrator.runtime.clock import now_ms, to_datetime
from orchestrator.store.functions.machines import MachineRecord
from perdure.contract import Machine, MachinePage

router = APIRouter(tags=["services"], route_class=KeyedRoute)


class ListMachines(TextPageQuery):
    """Which machines."""

    status: Annotated[
        Literal["active", "all"], Field(description="`active`: only machines that are alive.")
    ] = "all"


@router.get(
    "/clusters/{clusterId}/machines",
    operation_id="list_machines",
    summary="List machines",
    response_model=MachinePage,
    responses=problems(404),
)
async def list_machines(
    cluster_id: Cluster, wanted: Annotated[ListMachines, Query()], services: Services
) -> Response:
    """Return the function worker processes that ever registered, newest first."""
    now = now_ms()
    found = await services.store.machines.page(
        cluster_id,
        before=None if wanted.cursor is None else _position(wanted.cursor),
        alive_at=now if wanted.status == "active" else None,
        limit=wanted.fetch,
    )
    page, next_cursor = page_of(
        found, wanted, lambda last: to_text_cursor(last.created_at, last.id)
    )
    return reply(
        MachinePage(
            items=[_present(record, now) for record in page],
            next_cursor=next_cursor,
        )
    )


def _position(cursor: str) -> tuple[int, str]:
    created_at, machine_id = from_text_cursor(cursor, int, str)
    return created_at, machine_id


def _present(record: MachineRecord, now: int) -> Machine:
    return Machine(
        id=record.id,
        status="active" if record.alive_until > now else "inactive",
        last_ping_at=None if record.last_seen_at is None else to_datetime(record.last_seen_at),
        ip=record.ip,
        sdk=record.sdk,
        created_at=to_datetime(record.created_at),
    )
