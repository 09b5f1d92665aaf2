"""The audit trail: who changed what, or was not permitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import insert, select

from orchestrator.store import tables
from orchestrator.store.database.engine import Database

entries = tables.audit_entries
MAX_ACTOR = 256
MAX_TARGET = 512


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One request, as it is recorded."""

    cluster_id: str
    actor: str
    operation: str
    target: str
    status: int
    created_at: int


@dataclass(frozen=True, slots=True)
class AuditRecord(AuditEntry):
    key: int


class AuditStore:
    """Entries are added and read, never changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, notes: Sequence[AuditEntry]) -> None:
        """Write entries, in this order."""
        async with self._database.write() as write:
            await write.execute(insert(entries), [asdict(note) for note in notes])

    async def page(self, cluster_id: str, *, before: int | None, limit: int) -> list[AuditRecord]:
        """Entries of the cluster, newest first; `before` is the key of the last one of the page before."""
        statement = select(entries).where(entries.c.cluster_id == cluster_id)
        if before is not None:
            statement = statement.where(entries.c.key < before)
        statement = statement.order_by(entries.c.key.desc()).limit(limit)
        async with self._database.read() as read:
            return [AuditRecord(**row) for row in (await read.execute(statement)).mappings()]
