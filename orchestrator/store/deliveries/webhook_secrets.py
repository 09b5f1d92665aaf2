"""Secrets that sign a cluster's webhooks. Several are valid during a rotation."""

from __future__ import annotations

from sqlalchemy import delete, insert, or_, select, update

from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.runtime.clock import now_ms
from orchestrator.runtime.ids import new_id
from orchestrator.store import tables
from orchestrator.store.database.engine import Database, Read
from orchestrator.store.records import WebhookSecretRecord

MAX_SECRETS = 4
"""Valid ones at a time: every request carries a signature of each."""

secrets, clusters = tables.webhook_secrets, tables.clusters


class WebhookSecretStore:
    """Stored secrets; callers encrypt and decrypt them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def rotate(self, cluster_id: str, value: bytes, *, keep_ms: int) -> WebhookSecretRecord:
        """Add a secret; the existing ones stay valid for at most `keep_ms` more.

        Raises `ConflictError` if `MAX_SECRETS` are valid.
        """
        async with self._database.write() as write:
            cluster = select(clusters.c.id).where(clusters.c.id == cluster_id)
            await write.execute(cluster.with_for_update(key_share=True))
            now = now_ms()
            if len(await _valid(write, cluster_id, now)) >= MAX_SECRETS:
                raise ConflictError(
                    f"{MAX_SECRETS} webhook secrets are valid. Delete one, or wait until one has expired.",
                    code="too_many_webhook_secrets",
                )
            await write.execute(
                delete(secrets).where(
                    secrets.c.cluster_id == cluster_id, secrets.c.expires_at <= now
                )
            )
            until = now + keep_ms
            await write.execute(
                update(secrets)
                .where(
                    secrets.c.cluster_id == cluster_id,
                    or_(secrets.c.expires_at.is_(None), secrets.c.expires_at > until),
                )
                .values(expires_at=until)
            )
            record = WebhookSecretRecord(new_id(), cluster_id, value, now, None)
            await write.execute(
                insert(secrets).values(
                    id=record.id, cluster_id=cluster_id, value=value, created_at=now
                )
            )
        return record

    async def valid(self, cluster_id: str) -> list[WebhookSecretRecord]:
        """The valid secrets, newest first."""
        async with self._database.read() as read:
            return await _valid(read, cluster_id, now_ms())

    async def delete(self, cluster_id: str, secret_id: str) -> None:
        """Delete a secret. Raises `NotFoundError`."""
        statement = delete(secrets).where(
            secrets.c.cluster_id == cluster_id, secrets.c.id == secret_id
        )
        async with self._database.write() as write:
            if (await write.execute(statement)).rowcount == 0:
                raise NotFoundError(f"There is no webhook secret {secret_id!r}.")


async def _valid(read: Read, cluster_id: str, now: int) -> list[WebhookSecretRecord]:
    statement = (
        select(secrets)
        .where(
            secrets.c.cluster_id == cluster_id,
            or_(secrets.c.expires_at.is_(None), secrets.c.expires_at > now),
        )
        .order_by(secrets.c.created_at.desc(), secrets.c.id.desc())
    )
    return [WebhookSecretRecord(**row) for row in (await read.execute(statement)).mappings()]
