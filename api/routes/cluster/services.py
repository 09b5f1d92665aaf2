"""Service list route of a cluster."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.dependencies import Cluster, KeyedRoute, Services
from api.http.openapi import problems
from api.http.responses import reply
from perdure.contract import ServicePage

router = APIRouter(tags=["services"], route_class=KeyedRoute)


@router.get(
    "/clusters/{clusterId}/services",
    operation_id="list_services",
    summary="List services and their functions",
    response_model=ServicePage,
    responses=problems(404),
)
async def list_services(cluster_id: Cluster, services: Services) -> Response:
    """Return the services with their functions and the number of live function workers of each function."""
    return reply(ServicePage(items=await services.store.functions.services(cluster_id)))
