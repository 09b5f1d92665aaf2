"""Clusters: the tenants. The row of a deleted one is kept, but no query finds it; its name is free again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.rules.lifecycle import UNFINISHED
from orchestrator.runtime.clock import now_ms
from orchestrator.runtime.ids import new_id
from orchestrator.store import tables
from orchestrator.store.database.engine import Database, Read, Write
from orchestrator.workflows.interface import RunRef

clusters, contexts = tables.clusters, tables.cluster_contexts

_ORPHANS = 200
_DELETED = select(clusters.c.id).where(clusters.c.deleted_at.is_not(None))


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    id: str
    name: str
    description: str | None
    additional_context: str | None
    debug: bool
    custom_auth: bool
    created_at: int
    updated_at: int | None
    deleted_at: int | None


@dataclass(frozen=True, slots=True)
class ContextRecord:
    cluster_id: str
    version: int
    content: str | None
    created_at: int


class ClusterStore:
    """The clusters of this installation."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, name: str | None, description: str | None) -> ClusterRecord:
        """Create a cluster. Raises `ConflictError` if the name exists."""
        cluster_id = new_id()
        row = {
            "id": cluster_id,
            "name": name or f"cluster-{cluster_id.lower()}",
            "description": description,
            "created_at": now_ms(),
        }
        try:
            async with self._database.write() as write:
                await write.execute(insert(clusters).values(**row))
        except IntegrityError as error:
            raise _name_taken(name) from error
        return await self.get(cluster_id)

    async def get(self, cluster_id: str) -> ClusterRecord:
        """The cluster in its current state. Raises `NotFoundError`, also for a deleted one."""
        async with self._database.read() as read:
            return await _load_cluster(read, cluster_id)

    async def page(self, *, after: str, limit: int) -> list[ClusterRecord]:
        """Clusters with a greater id, oldest first."""
        statement = (
            select(clusters)
            .where(clusters.c.deleted_at.is_(None), clusters.c.id > after)
            .order_by(clusters.c.id)
            .limit(limit)
        )
        async with self._database.read() as read:
            return [ClusterRecord(**row) for row in (await read.execute(statement)).mappings()]

    async def change(self, cluster_id: str, changes: Mapping[str, object]) -> ClusterRecord:
        """Set columns; a new `additional_context` is stored as a version.

        Raises `NotFoundError`, `ConflictError` if the name exists.
        """
        now = now_ms()
        try:
            async with self._database.write() as write:
                before = await _load_cluster(write, cluster_id, lock=True)
                await _insert_context_version(write, before, changes, now)
                await write.execute(
                    update(clusters)
                    .where(clusters.c.id == cluster_id)
                    .values(**changes, updated_at=max(now, (before.updated_at or 0) + 1))
                )
        except IntegrityError as error:
            raise _name_taken(changes.get("name")) from error
        return await self.get(cluster_id)

    async def delete(self, cluster_id: str) -> None:
        """Mark the cluster deleted and its keys invalid; the sweeper cancels its runs.

        Raises `NotFoundError`.
        """
        now = now_ms()
        async with self._database.write() as write:
            before = await _load_cluster(write, cluster_id, lock=True)
            await write.execute(
                update(clusters)
                .where(clusters.c.id == cluster_id)
                .values(deleted_at=now, name=f"{before.name[:200]} (deleted {cluster_id})"[:256])
            )
            keys = tables.api_keys
            await write.execute(
                update(keys)
                .where(keys.c.cluster_id == cluster_id, keys.c.revoked_at.is_(None))
                .values(revoked_at=now)
            )
            backoffs = tables.crash_streaks
            await write.execute(delete(backoffs).where(backoffs.c.cluster_id == cluster_id))

    async def orphans(self) -> list[RunRef]:
        """Some of the unfinished runs of deleted clusters without a cancel request."""
        runs = tables.runs
        async with self._database.read() as read:
            # the few clusters first: with a join PostgreSQL reads every unfinished run of all the others
            deleted = list((await read.execute(_DELETED)).scalars())
            if not deleted:
                return []
            statement = select(runs.c.cluster_id, runs.c.id).where(
                runs.c.cluster_id.in_(deleted),
                runs.c.status.in_(sorted(UNFINISHED)),
                runs.c.cancel_reason.is_(None),
            )
            return [RunRef(*row) for row in await read.execute(statement.limit(_ORPHANS))]

    async def context_versions(
        self, cluster_id: str, *, before: int | None, limit: int
    ) -> list[ContextRecord]:
        """Earlier versions of the additional context, newest first."""
        statement = select(contexts).where(contexts.c.cluster_id == cluster_id)
        if before is not None:
            statement = statement.where(contexts.c.version < before)
        statement = statement.order_by(contexts.c.version.desc()).limit(limit)
        async with self._database.read() as read:
            return [ContextRecord(**row) for row in (await read.execute(statement)).mappings()]


async def _load_cluster(read: Read, cluster_id: str, *, lock: bool = False) -> ClusterRecord:
    statement = select(clusters).where(clusters.c.id == cluster_id, clusters.c.deleted_at.is_(None))
    if lock:
        statement = statement.with_for_update(key_share=True)
    row = (await read.execute(statement)).mappings().one_or_none()
    if row is None:
        raise NotFoundError(f"There is no cluster {cluster_id[:100]!r}.")
    return ClusterRecord(**row)


async def _insert_context_version(
    write: Write, before: ClusterRecord, changes: Mapping[str, object], now: int
) -> None:
    if changes.get("additional_context", before.additional_context) == before.additional_context:
        return
    last = select(func.max(contexts.c.version)).where(contexts.c.cluster_id == before.id)
    version = (await write.execute(last)).scalar_one() or 0
    await write.execute(
        insert(contexts).values(
            cluster_id=before.id,
            version=version + 1,
            content=changes["additional_context"],
            created_at=now,
        )
    )


def _name_taken(name: object) -> ConflictError:
    return ConflictError(
        f"There is a cluster {name!r} already. Choose another name.", code="cluster_name_taken"
    )
