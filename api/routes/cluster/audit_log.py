"""The audit trail of a cluster."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.dependencies import Cluster, KeyedRoute, Services
from api.http.openapi import problems
from api.http.pagination import MAX_CURSOR, from_cursor, to_cursor
from api.http.responses import reply
from orchestrator.runtime.clock import to_datetime
from perdure.contract import AuditEntry, AuditPage

router = APIRouter(tags=["clusters"], route_class=KeyedRoute)


class ListAudit(BaseModel):
    """Which page of the trail."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=100)] = 50
    cursor: Annotated[
        str | None, Field(max_length=MAX_CURSOR, description="`nextCursor` of the page before.")
    ] = None


@router.get(
    "/clusters/{clusterId}/audit",
    operation_id="list_audit_entries",
    summary="Read the audit trail",
    response_model=AuditPage,
    responses=problems(404),
)
async def list_audit_entries(
    cluster_id: Cluster, wanted: Annotated[ListAudit, Query()], services: Services
) -> Response:
    """Requests that changed something or were refused for their scope, newest first. Those that another API process
    answered may come half a second late. Heartbeats and results of function workers are not listed.
    """
    await services.trail.flush()
    before = None if wanted.cursor is None else from_cursor(wanted.cursor, parts=1)[0]
    found = await services.store.audit.page(cluster_id, before=before, limit=wanted.limit + 1)
    page = found[: wanted.limit]
    return reply(
        AuditPage(
            items=[
                AuditEntry(
                    id=str(record.key),
                    actor=record.actor,
                    operation=record.operation,
                    target=record.target,
                    status=record.status,
                    created_at=to_datetime(record.created_at),
                )
                for record in page
            ],
            next_cursor=to_cursor(page[-1].key) if len(found) > wanted.limit else None,
        )
    )
