"""Blobs of calls: for people, never for the model."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from sqlalchemy import Select, func, insert, select

from orchestrator.errors import NotFoundError, SupersededError, TooLargeError
from orchestrator.runtime.ids import new_id
from orchestrator.store import tables
from orchestrator.store.calls.rows import find_call
from orchestrator.store.database.engine import Database, Read
from orchestrator.store.database.json_columns import to_storable_text
from orchestrator.store.records import BlobRecord, CallRecord
from orchestrator.store.runs.locked_run import LockedRun
from orchestrator.workflows.interface import RunRef
from perdure.contract import MAX_RUN_BLOB_BYTES, BlobType
from perdure.contract.event_types import BlobAttached

blobs, calls, runs = tables.blobs, tables.calls, tables.runs

MAX_RUN_BLOBS = 1_000
"""Blobs of one run."""
_COLUMNS = (
    blobs.c.id,
    blobs.c.call_key,
    calls.c.id.label("call_id"),
    blobs.c.name,
    blobs.c.type,
    blobs.c.size,
    blobs.c.created_at,
)


class BlobStore:
    """Blobs of all clusters; every method names its cluster."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self,
        cluster_id: str,
        call_id: str,
        machine_id: str,
        *,
        name: str,
        type_: BlobType,
        content: bytes,
    ) -> str:
        """Store a blob of a call that this worker leases or leased last, even after the call's end; returns its id.

        Raises `NotFoundError`, `SupersededError` for another worker, `TooLargeError` if the run has too many.
        """
        async with self._database.write() as write:
            run = await LockedRun.lock_call(write, cluster_id, call_id)
            call = await find_call(write, cluster_id, call_id)
            if call is None:
                raise NotFoundError(f"There is no call {call_id!r}.")
            if call.machine_id != machine_id:
                raise SupersededError("The call was never this machine's, or was given to another.")
            await _check_capacity(write, run.key, len(content))
            blob_id = await _insert(
                run, call, name=to_storable_text(name), type_=type_, content=content
            )
            await run.save()
        return blob_id

    async def content(self, cluster_id: str, blob_id: str) -> tuple[BlobRecord, bytes]:
        """A blob and its content. Raises `NotFoundError`."""
        statement = (
            select(*_COLUMNS, blobs.c.content)
            .join(calls, calls.c.key == blobs.c.call_key)
            .where(blobs.c.cluster_id == cluster_id, blobs.c.id == blob_id)
        )
        async with self._database.read() as read:
            row = (await read.execute(statement)).one_or_none()
        if row is None:
            raise NotFoundError(f"There is no blob {blob_id!r}.")
        *columns, text = row
        return BlobRecord(*columns), base64.b64decode(text)

    async def page(self, ref: RunRef, *, offset: int, limit: int) -> list[BlobRecord]:
        """A run's blobs, oldest first. Raises `NotFoundError`."""
        key = select(runs.c.key).where(runs.c.cluster_id == ref.cluster_id, runs.c.id == ref.run_id)
        async with self._database.read() as read:
            run_key = (await read.execute(key)).scalar_one_or_none()
            if run_key is None:
                raise NotFoundError(f"There is no run {ref.run_id!r}.")
            wanted = _select_blobs().where(blobs.c.run_key == run_key)
            rows = await read.execute(wanted.offset(offset).limit(limit))
            return [BlobRecord(*row) for row in rows]


async def _insert(
    run: LockedRun, call: CallRecord, *, name: str, type_: BlobType, content: bytes
) -> str:
    blob_id = new_id()
    await run.write.execute(
        insert(blobs).values(
            id=blob_id,
            run_key=run.key,
            call_key=call.key,
            cluster_id=call.cluster_id,
            name=name,
            type=type_.value,
            encoding="base64",
            size=len(content),
            content=base64.b64encode(content).decode("ascii"),
            created_at=run.now,
        )
    )
    run.event(
        BlobAttached(
            blob_id=blob_id, call_id=call.id, name=name, type=type_.value, size=len(content)
        )
    )
    return blob_id


async def blobs_of(read: Read, call_keys: Sequence[int]) -> list[BlobRecord]:
    """Blobs of these calls, oldest first."""
    if not call_keys:
        return []
    rows = await read.execute(_select_blobs().where(blobs.c.call_key.in_(call_keys)))
    return [BlobRecord(*row) for row in rows]


def _select_blobs() -> Select[str, int, str, str, str, int, int]:
    return (
        select(*_COLUMNS)
        .join(calls, calls.c.key == blobs.c.call_key)
        .order_by(blobs.c.created_at, blobs.c.id)
    )


async def _check_capacity(read: Read, run_key: int, size: int) -> None:
    statement = select(func.count(), func.coalesce(func.sum(blobs.c.size), 0)).where(
        blobs.c.run_key == run_key
    )
    count, total = (await read.execute(statement)).one()
    if count >= MAX_RUN_BLOBS or total + size > MAX_RUN_BLOB_BYTES:
        raise TooLargeError(
            f"The blobs of one run may have {MAX_RUN_BLOB_BYTES} bytes together, and be {MAX_RUN_BLOBS}.",
            pointer="/data",
        )
