"""API key routes of a cluster: create, list, revoke."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from api.access import actor_of, forbidden
from api.auth.scopes import grantable_scopes
from api.dependencies import Cluster, Key, KeyedRoute, Services
from api.http.openapi import problems
from api.http.pagination import TextPageQuery, page_of, to_text_cursor
from api.http.responses import reply
from orchestrator.runtime.clock import to_datetime
from orchestrator.store.records import KeyRecord
from orchestrator.store.tenants.api_keys import DEFAULT_SCOPES, parse_scopes
from perdure.contract import ApiKey, ApiKeyPage, CreateApiKey, CreatedApiKey, Scope

router = APIRouter(
    prefix="/clusters/{clusterId}/api-keys", tags=["clusters"], route_class=KeyedRoute
)


def _present(record: KeyRecord) -> ApiKey:
    return ApiKey(
        id=record.id,
        name=record.name,
        scopes=sorted(parse_scopes(record.scopes)),
        created_by=record.created_by,
        created_at=to_datetime(record.created_at),
        revoked_at=None if record.revoked_at is None else to_datetime(record.revoked_at),
    )


@router.post(
    "",
    operation_id="create_api_key",
    summary="Create an API key",
    status_code=201,
    response_model=CreatedApiKey,
    responses=problems(404, body=True),
)
async def create_api_key(
    cluster_id: Cluster, wanted: CreateApiKey, services: Services, key: Key, request: Request
) -> Response:
    """Create a key. Its value is returned only in this response.

    A key cannot grant a scope that it lacks (403). No key can grant `management`, which is granted on the command line
    only. A key with `management` may also grant `machine`.
    """
    scopes = _given(wanted, grantable_scopes(key, cluster_id))
    record, secret = await services.store.keys.create(
        cluster_id, wanted.name, scopes=scopes, created_by=actor_of(key)
    )
    request.state.made = f"/{record.id}"
    return reply(CreatedApiKey(**_present(record).model_dump(), key=secret), 201)


def _given(wanted: CreateApiKey, possible: frozenset[Scope]) -> frozenset[Scope]:
    if wanted.scopes is None:
        return DEFAULT_SCOPES & possible
    missing = sorted(set(wanted.scopes) - possible)
    if missing:
        raise forbidden(
            f"This key cannot give the scope `{missing[0]}`. It can give: {', '.join(sorted(possible))}."
        )
    return frozenset(wanted.scopes)


@router.get(
    "",
    operation_id="list_api_keys",
    summary="List API keys",
    response_model=ApiKeyPage,
    responses=problems(404),
)
async def list_api_keys(
    cluster_id: Cluster, wanted: Annotated[TextPageQuery, Query()], services: Services
) -> Response:
    """Return the cluster's keys, including revoked ones, oldest first. Key values are not stored and not returned."""
    found = await services.store.keys.page(cluster_id, after=wanted.text(), limit=wanted.fetch)
    page, next_cursor = page_of(found, wanted, lambda last: to_text_cursor(last.id))
    return reply(
        ApiKeyPage(
            items=[_present(record) for record in page],
            next_cursor=next_cursor,
        )
    )


@router.delete(
    "/{keyId}",
    operation_id="revoke_api_key",
    summary="Revoke an API key",
    status_code=204,
    responses=problems(404),
)
async def revoke_api_key(
    cluster_id: Cluster,
    key_id: Annotated[
        str,
        Path(alias="keyId", max_length=64, pattern=r"^[^\x00]*$", description="The key's id."),
    ],
    services: Services,
) -> Response:
    """Revoke a key, effective within 2 seconds. Revoking a revoked key succeeds."""
    await services.store.keys.revoke(cluster_id, key_id)
    return Response(status_code=204)
