"""Machines: the processes of function workers, as the cluster's owner sees them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, or_, select, update

from orchestrator.errors import NotFoundError
from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from orchestrator.store.database.engine import Database
from orchestrator.store.database.json_columns import to_storable_text

machines = tables.machines


@dataclass(frozen=True, slots=True)
class MachineRecord:
    cluster_id: str
    id: str
    heartbeats: bool
    alive_until: int
    ip: str | None
    sdk: str | None
    last_seen_at: int | None
    created_at: int


class MachineStore:
    """Lists and removes machines; `FunctionStore` writes them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, cluster_id: str, *, before: tuple[int, str] | None, alive_at: int | None, limit: int
    ) -> list[MachineRecord]:
        """Machines, newest first; with `alive_at` (ms) only those alive then."""
        statement = select(machines).where(machines.c.cluster_id == cluster_id)
        if alive_at is not None:
            statement = statement.where(machines.c.alive_until > alive_at)
        if before is not None:
            created_at, machine_id = before
            statement = statement.where(
                or_(
                    machines.c.created_at < created_at,
                    and_(machines.c.created_at == created_at, machines.c.id < machine_id),
                )
            )
        statement = statement.order_by(machines.c.created_at.desc(), machines.c.id.desc())
        async with self._database.read() as read:
            rows = (await read.execute(statement.limit(limit))).mappings()
            return [MachineRecord(**row) for row in rows]

    async def mark_offline(self, cluster_id: str, machine_id: str) -> None:
        """Mark the machine as gone. Raises `NotFoundError`."""
        statement = (
            update(machines)
            .where(
                machines.c.cluster_id == cluster_id, machines.c.id == to_storable_text(machine_id)
            )
            .values(alive_until=now_ms())
        )
        async with self._database.write() as write:
            if (await write.execute(statement)).rowcount == 0:
                raise NotFoundError(f"There is no machine {machine_id!r}.")
