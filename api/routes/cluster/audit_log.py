"""Audit log route of a cluster."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.dependencies import Cluster, KeyedRoute, Services
from api.http.openapi import problems
from api.http.pagination import PageQuery, page_of, to_cursor
from api.http.responses import reply
from orchestrator.runtime.clock import to_datetime
from perdure.contract import AuditEntry, AuditPage

router = APIRouter(tags=["clusters"], route_class=KeyedRoute)


@router.get(
    "/clusters/{clusterId}/audit",
    operation_id="list_audit_entries",
    summary="Read the audit log",
    response_model=AuditPage,
    responses=problems(404),
)
async def list_audit_entries(
    cluster_id: Cluster, wanted: Annotated[PageQuery, Query()], services: Services
) -> Response:
    """Return requests that changed something or were rejected for a missing scope, newest first.

    Entries written by other API processes may appear up to half a second late. Heartbeats and results of function
    workers are not logged.
    """
    await services.audit_writer.flush()
    found = await services.store.audit.page(cluster_id, before=wanted.number(), limit=wanted.fetch)
    page, next_cursor = page_of(found, wanted, lambda last: to_cursor(last.key))
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
            next_cursor=next_cursor,
        )
    )
