"""Cluster routes: the tenants and their settings."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from api.dependencies import Cluster, Key, KeyedRoute, Services
from api.http.openapi import problems
from api.http.pagination import (
    MAX_VERSION,
    PageQuery,
    TextPageQuery,
    page_of,
    to_cursor,
    to_text_cursor,
)
from api.http.responses import reply
from orchestrator.errors import InvalidRequestError
from orchestrator.runtime.clock import to_datetime
from orchestrator.store.tenants.clusters import ClusterRecord
from perdure.contract import (
    Cluster as ClusterReply,
    ClusterPage,
    ContextVersion,
    ContextVersionPage,
    CreateCluster,
    UpdateCluster,
)

router = APIRouter(prefix="/clusters", tags=["clusters"], route_class=KeyedRoute)

_COLUMNS = {"enable_custom_auth": "custom_auth"}
_NEVER_EMPTY = ("name", "debug", "enable_custom_auth")


class ListVersions(PageQuery):
    """Query parameters of the version list."""

    limit: Annotated[int, Field(ge=1, le=100)] = 20


def _present(record: ClusterRecord) -> ClusterReply:
    return ClusterReply(
        id=record.id,
        name=record.name,
        description=record.description,
        additional_context=record.additional_context,
        debug=record.debug,
        enable_custom_auth=record.custom_auth,
        created_at=to_datetime(record.created_at),
        updated_at=None if record.updated_at is None else to_datetime(record.updated_at),
    )


@router.get(
    "",
    operation_id="list_clusters",
    summary="List clusters",
    response_model=ClusterPage,
    responses=problems(),
)
async def list_clusters(
    _: Key, wanted: Annotated[TextPageQuery, Query()], services: Services
) -> Response:
    """Return all clusters of this installation, oldest first, paginated."""
    found = await services.store.clusters.page(after=wanted.text(), limit=wanted.fetch)
    page, next_cursor = page_of(found, wanted, lambda last: to_text_cursor(last.id))
    return reply(
        ClusterPage(
            items=[_present(record) for record in page],
            next_cursor=next_cursor,
        )
    )


@router.post(
    "",
    operation_id="create_cluster",
    summary="Create a cluster",
    status_code=201,
    response_model=ClusterReply,
    responses=problems(409, body=True),
)
async def create_cluster(
    _: Key, wanted: CreateCluster, services: Services, request: Request
) -> Response:
    """Create a cluster. It has no API keys yet: create one with `POST /clusters/{clusterId}/api-keys`."""
    record = await services.store.clusters.create(wanted.name, wanted.description)
    request.state.made = f"/{record.id}"
    return reply(_present(record), 201)


@router.get(
    "/{clusterId}",
    operation_id="get_cluster",
    summary="Get a cluster",
    response_model=ClusterReply,
    responses=problems(404),
)
async def get_cluster(cluster_id: Cluster, services: Services) -> Response:
    """Return the cluster with its settings."""
    return reply(_present(await services.store.clusters.get(cluster_id)))


@router.put(
    "/{clusterId}",
    operation_id="update_cluster",
    summary="Change a cluster's settings",
    response_model=ClusterReply,
    responses=problems(404, 409, body=True),
)
async def update_cluster(
    cluster_id: Cluster, wanted: UpdateCluster, services: Services
) -> Response:
    """Update the given fields; omitted fields stay unchanged. The change takes effect within 2 seconds."""
    changes = wanted.model_dump(exclude_unset=True)
    for name in _NEVER_EMPTY:
        if name in changes and changes[name] is None:
            field = UpdateCluster.model_fields[name].alias or name
            raise InvalidRequestError(f"`{field}` cannot be null.", pointer=f"/{field}")
    columns = {_COLUMNS.get(name, name): value for name, value in changes.items()}
    record = await services.store.clusters.change(cluster_id, columns)
    services.cluster_cache.invalidate(cluster_id)
    return reply(_present(record))


@router.delete(
    "/{clusterId}",
    operation_id="delete_cluster",
    summary="Delete a cluster",
    status_code=204,
    responses=problems(404),
)
async def delete_cluster(cluster_id: Cluster, services: Services) -> Response:
    """Delete the cluster. Its keys stop working within 2 seconds; its runs are cancelled soon after.

    Its data stays in the database.
    """
    await services.store.clusters.delete(cluster_id)
    services.cluster_cache.invalidate(cluster_id)
    return Response(status_code=204)


@router.get(
    "/{clusterId}/context-versions",
    operation_id="list_context_versions",
    summary="List versions of the additional context",
    response_model=ContextVersionPage,
    responses=problems(404),
)
async def list_context_versions(
    cluster_id: Cluster, wanted: Annotated[ListVersions, Query()], services: Services
) -> Response:
    """Return every value that `additionalContext` was set to, newest first."""
    number = wanted.number()
    found = await services.store.clusters.context_versions(
        cluster_id,
        before=None if number is None else min(number, MAX_VERSION),
        limit=wanted.fetch,
    )
    page, next_cursor = page_of(found, wanted, lambda last: to_cursor(last.version))
    return reply(
        ContextVersionPage(
            items=[
                ContextVersion(
                    version=record.version,
                    content=record.content,
                    created_at=to_datetime(record.created_at),
                )
                for record in page
            ],
            next_cursor=next_cursor,
        )
    )
