"""Validates webhook targets and manages the secrets that sign webhooks."""

from __future__ import annotations

import base64
import secrets

from orchestrator.errors import InvalidRequestError
from orchestrator.runtime.encryption import FieldCipher
from orchestrator.settings import Settings
from orchestrator.store.records import WebhookSecretRecord
from orchestrator.store.store import Store
from perdure.contract import WebhookTarget

_SECRET_BYTES = 32
_PREFIX = "whsec_"


class Webhooks:
    """Checks targets, creates secrets and returns them for signing."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._secrets = store.webhook_secrets
        self._rules = settings.webhook_rules
        self._cipher = FieldCipher.from_key(settings.payload_key)

    async def check(self, cluster_id: str, target: WebhookTarget) -> None:
        """Raise `InvalidRequestError` for a webhook that can never be delivered or signed."""
        try:
            self._rules.admit(target.url)
        except ValueError as error:
            raise InvalidRequestError(
                f"The webhook URL is not allowed: {error}.",
                pointer="/onStatusChange/webhook/url",
                code="webhook_address",
            ) from error
        if not await self._secrets.valid(cluster_id):
            raise InvalidRequestError(
                "Webhooks are signed, and the cluster has no webhook secret yet."
                " Create one with POST /clusters/{clusterId}/webhook-secrets.",
                pointer="/onStatusChange/webhook",
                code="no_webhook_secret",
            )

    async def create_secret(
        self, cluster_id: str, *, keep_seconds: int
    ) -> tuple[WebhookSecretRecord, str]:
        """Create a secret; the existing ones stay valid for the overlap. The second value is the secret itself.

        Raises `ConflictError` if too many secrets are valid.
        """
        secret = _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
        sealed = self._cipher.seal(secret, cluster_id)
        record = await self._secrets.rotate(cluster_id, sealed, keep_ms=keep_seconds * 1000)
        return record, secret

    async def secrets(self, cluster_id: str) -> list[str]:
        """Return the valid secrets, newest first. Raises `ValueError` if there is none, or none can be decrypted."""
        found = await self._secrets.valid(cluster_id)
        if not found:
            raise ValueError("the cluster has no valid webhook secret")
        return [self._cipher.open(record.value, cluster_id) for record in found]
