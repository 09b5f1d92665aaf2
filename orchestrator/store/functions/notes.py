"""Operators' notes to the model about a function. A note outlives its function's registrations."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, select

from orchestrator.errors import NotFoundError
from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from orchestrator.store.database.engine import Database

notes = tables.function_notes


@dataclass(frozen=True, slots=True)
class NoteRecord:
    cluster_id: str
    service: str
    function: str
    additional_context: str | None
    updated_at: int


class NoteStore:
    """One note per function."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, cluster_id: str, service: str, function: str, text: str | None) -> None:
        """Write the note, replacing an existing one."""
        async with self._database.write() as write:
            await write.upsert(
                notes,
                {"cluster_id": cluster_id, "service": service, "function": function},
                {"additional_context": text, "updated_at": now_ms()},
                update=["additional_context", "updated_at"],
            )

    async def get(self, cluster_id: str, service: str, function: str) -> NoteRecord:
        """The note. Raises `NotFoundError`."""
        statement = select(notes).where(
            notes.c.cluster_id == cluster_id,
            notes.c.service == service,
            notes.c.function == function,
        )
        async with self._database.read() as read:
            row = (await read.execute(statement)).mappings().one_or_none()
        if row is None:
            raise _unknown(service, function)
        return NoteRecord(**row)

    async def delete(self, cluster_id: str, service: str, function: str) -> None:
        """Delete the note. Raises `NotFoundError`."""
        statement = delete(notes).where(
            notes.c.cluster_id == cluster_id,
            notes.c.service == service,
            notes.c.function == function,
        )
        async with self._database.write() as write:
            if (await write.execute(statement)).rowcount == 0:
                raise _unknown(service, function)


def _unknown(service: str, function: str) -> NotFoundError:
    return NotFoundError(f"There is no note on the function {service}.{function}.")
