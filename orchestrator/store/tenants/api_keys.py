"""Clusters and API keys. Only a key's hash is stored; the key itself is shown once, at its creation."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from orchestrator.errors import NotFoundError
from orchestrator.runtime.clock import now_ms
from orchestrator.runtime.ids import new_id
from orchestrator.store import tables
from orchestrator.store.database.engine import Database
from orchestrator.store.records import KeyRecord
from perdure.contract import Scope

DEFAULT_SCOPES = frozenset({Scope.ADMIN, Scope.CLIENT, Scope.MACHINE})

_COLUMNS = (
    tables.api_keys.c.id,
    tables.api_keys.c.cluster_id,
    tables.api_keys.c.name,
    tables.api_keys.c.scopes,
    tables.api_keys.c.created_by,
    tables.api_keys.c.created_at,
    tables.api_keys.c.revoked_at,
)


def hash_key(key: str) -> str:
    """SHA-256 of a key, in hex. Keys are 256 random bits, so a fast hash without salt is enough."""
    return hashlib.sha256(key.encode()).hexdigest()


class KeyStore:
    """API keys, each of one cluster."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ensure_cluster(self, name: str) -> str:
        """The id of the cluster of that name, which is created if there is none."""
        found = await self._cluster(name)
        if found is not None:
            return found
        cluster_id = new_id()
        try:
            async with self._database.write() as write:
                await write.execute(
                    insert(tables.clusters).values(id=cluster_id, name=name, created_at=now_ms())
                )
        except IntegrityError:  # another process created it meanwhile
            found = await self._cluster(name)
            if found is None:
                raise
            return found
        return cluster_id

    async def _cluster(self, name: str) -> str | None:
        statement = select(tables.clusters.c.id).where(tables.clusters.c.name == name)
        async with self._database.read() as read:
            cluster_id: str | None = (await read.execute(statement)).scalar_one_or_none()
            return cluster_id

    async def create(
        self,
        cluster_id: str,
        name: str,
        *,
        scopes: Iterable[Scope] = DEFAULT_SCOPES,
        created_by: str | None = None,
    ) -> tuple[KeyRecord, str]:
        """Create a key. The second value is the key itself, which is not stored."""
        key = f"sk_{secrets.token_urlsafe(32)}"
        record = KeyRecord(
            new_id(), cluster_id, name, _format_scopes(scopes), created_by, now_ms(), None
        )
        async with self._database.write() as write:
            await write.execute(
                insert(tables.api_keys).values(
                    id=record.id,
                    cluster_id=cluster_id,
                    name=name,
                    key_hash=hash_key(key),
                    scopes=record.scopes,
                    created_by=created_by,
                    created_at=record.created_at,
                )
            )
        return record, key

    async def identify(self, key_hash: str) -> KeyRecord | None:
        """The key of that hash, unless it is unknown or revoked, or its cluster was deleted."""
        statement = (
            select(*_COLUMNS)
            .join(tables.clusters, tables.clusters.c.id == tables.api_keys.c.cluster_id)
            .where(
                tables.api_keys.c.key_hash == key_hash,
                tables.api_keys.c.revoked_at.is_(None),
                tables.clusters.c.deleted_at.is_(None),
            )
        )
        async with self._database.read() as read:
            row = (await read.execute(statement)).mappings().one_or_none()
        return None if row is None else KeyRecord(**row)

    async def all_of(self, cluster_id: str) -> list[KeyRecord]:
        """All keys of the cluster, revoked ones included, oldest first."""
        statement = (
            select(*_COLUMNS)
            .where(tables.api_keys.c.cluster_id == cluster_id)
            .order_by(tables.api_keys.c.id)
        )
        async with self._database.read() as read:
            return [KeyRecord(**row) for row in (await read.execute(statement)).mappings()]

    async def page(self, cluster_id: str, *, after: str, limit: int) -> list[KeyRecord]:
        """Keys with a greater id, revoked ones included, oldest first."""
        statement = (
            select(*_COLUMNS)
            .where(tables.api_keys.c.cluster_id == cluster_id, tables.api_keys.c.id > after)
            .order_by(tables.api_keys.c.id)
            .limit(limit)
        )
        async with self._database.read() as read:
            return [KeyRecord(**row) for row in (await read.execute(statement)).mappings()]

    async def grant_scopes(self, key_id: str, scopes: Iterable[Scope]) -> None:
        """Replace a key's scopes."""
        statement = update(tables.api_keys).where(tables.api_keys.c.id == key_id)
        async with self._database.write() as write:
            await write.execute(statement.values(scopes=_format_scopes(scopes)))

    async def revoke(self, cluster_id: str, key_id: str) -> None:
        """Revoke a key. Raises `NotFoundError`; revoking twice is no error and changes nothing."""
        keys = tables.api_keys
        mine = (keys.c.cluster_id == cluster_id, keys.c.id == key_id)
        async with self._database.write() as write:
            if (await write.execute(select(keys.c.id).where(*mine))).one_or_none() is None:
                raise NotFoundError(f"There is no API key {key_id!r}.")
            statement = update(keys).where(*mine, keys.c.revoked_at.is_(None))
            await write.execute(statement.values(revoked_at=now_ms()))


def parse_scopes(written: str) -> frozenset[Scope]:
    """The scopes of a key's record."""
    return frozenset(Scope(word) for word in written.split(",") if word)


def _format_scopes(scopes: Iterable[Scope]) -> str:
    return ",".join(sorted(set(scopes)))
