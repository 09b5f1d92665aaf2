"""Webhook secret routes of a cluster: create, list, delete."""

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
    summary="Create a webhook secret",
    status_code=201,
    response_model=NewWebhookSecret,
    responses=problems(404, 409, body=True),
)
async def create_webhook_secret(
    cluster_id: Cluster, services: Services, request: CreateWebhookSecret | None = None
) -> Response:
    """Create or rotate the signing secret. Its value is returned only in this response.

    Existing secrets stay valid for `expiresInSeconds`; until then every webhook carries a signature of each secret.
    More than four valid secrets at a time are a conflict (`too_many_webhook_secrets`).
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
    summary="List webhook secrets",
    response_model=WebhookSecretPage,
    responses=problems(404),
)
async def list_webhook_secrets(cluster_id: Cluster, services: Services) -> Response:
    """Return the secrets in use, newest first, without their values."""
    found = await services.store.webhook_secrets.valid(cluster_id)
    return reply(WebhookSecretPage(items=[_present(record) for record in found]))


@router.delete(
    "/{secretId}",
    operation_id="delete_webhook_secret",
    summary="Delete a webhook secret",
    status_code=204,
    response_class=Response,
    responses=problems(404),
)
async def delete_webhook_secret(
    cluster_id: Cluster, secret_id: SecretId, services: Services
) -> Response:
    """Stop signing with the secret at once. While a cluster has no secret, its webhooks stay pending."""
    await services.store.webhook_secrets.delete(cluster_id, secret_id)
    return Response(status_code=204)


def _present(record: WebhookSecretRecord) -> WebhookSecret:
    return WebhookSecret(
        id=record.id,
        created_at=to_datetime(record.created_at),
        expires_at=None if record.expires_at is None else to_datetime(record.expires_at),
    )
