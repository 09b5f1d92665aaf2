"""Deleting a run."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.dependencies import KeyedRoute, Ref, Services
from api.http.openapi import problems

router = APIRouter(prefix="/clusters/{clusterId}/runs", tags=["runs"], route_class=KeyedRoute)


@router.delete(
    "/{runId}",
    operation_id="delete_run",
    summary="Delete a run",
    status_code=204,
    responses=problems(404),
)
async def delete_run(ref: Ref, services: Services) -> Response:
    """Delete a run for good, whatever it is doing: its messages, calls, results, blobs, events and pending deliveries.

    What works for it is stopped, who waits for it gets a 404. What it cost stays in the cluster's usage.
    """
    await services.operations.delete_run(ref)
    return Response(status_code=204)
