"""Secrets that sign a cluster's webhooks: make, list, delete."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from api.dependencies import Cluster, KeyedRoute, Services
from api.http.openapi import problems
from api.http.responses import reply
from orchestrator.runtime.clock import to_datetime
from orchestrator.store.records import WebhookSecretRecord
from perdure.contract import (
    CreateWebhookSecret,
    NewWebhookSecret,
    WebhookSecret,
    WebhookSecretPage,
)

router = APIRouter(
    prefix="/clusters/{clusterId}/webhook-secrets",
    tags=["status changes"],
    route_class=KeyedRoute,
)

SecretId = Annotated[
    str,
    Path(alias="secretId", max_length=26, pattern=r"^[^\x00]*$", description="The secret's id."),
]


@router.post(
    "",
    operation_id="create_webhook_secret",
    summary="Make a secret that signs webhooks",
    status_code=201,
    response_model=NewWebhookSecret,
    responses=problems(404, 409, body=True),
)
async def create_webhook_secret(
    cluster_id: Cluster, services: Services, request: CreateWebhookSecret | None = None
) -> Response:
    """The first secret, or the next one: those there stay valid for `expiresInSeconds`, and meanwhile every request
    carries a signature of each. The secret is shown this once.

    More than four valid at a time is a conflict (`too_many_webhook_secrets`).
    """
    wanted = request or CreateWebhookSecret()
    record, secret = await services.webhooks.create_secret(
        cluster_id, keep_seconds=wanted.expires_in_seconds
    )
    created = NewWebhookSecret(
        id=record.id, created_at=to_datetime(record.created_at), secret=secret
    )
    return reply(created, 201, headers={"Cache-Control": "no-store"})


@router.get(
    "",
    operation_id="list_webhook_secrets",
    summary="List the secrets that sign webhooks",
    response_model=WebhookSecretPage,
    responses=problems(404),
)
async def list_webhook_secrets(cluster_id: Cluster, services: Services) -> Response:
    """The secrets that sign now, newest first, without their values."""
    found = await services.store.webhook_secrets.valid(cluster_id)
    return reply(WebhookSecretPage(items=[_present(record) for record in found]))


@router.delete(
    "/{secretId}",
    operation_id="delete_webhook_secret",
    summary="Delete a secret that signs webhooks",
    status_code=204,
    response_class=Response,
    responses=problems(404),
)
async def delete_webhook_secret(
    cluster_id: Cluster, secret_id: SecretId, services: Services
) -> Response:
    """Nothing is signed with it from now on. Without any secret, webhooks wait until there is one."""
    await services.store.webhook_secrets.delete(cluster_id, secret_id)
    return Response(status_code=204)


def _present(record: WebhookSecretRecord) -> WebhookSecret:
    return WebhookSecret(
        id=record.id,
        created_at=to_datetime(record.created_at),
        expires_at=None if record.expires_at is None else to_datetime(record.expires_at),
    )
