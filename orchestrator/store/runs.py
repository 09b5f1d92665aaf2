"""Runs: made, found, listed, wished upon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, and_, insert, or_, select
from sqlalchemy.exc import IntegrityError

from orchestrator.activity_interface import RunRef
from orchestrator.clock import now_ms
from orchestrator.errors import ConflictError, InvalidRequestError, NotFoundError
from orchestrator.lifecycle import Move, can, is_final
from orchestrator.store import tables
from orchestrator.store.engine import Database, Write
from orchestrator.store.json_text import dump, dump_optional, storable
from orchestrator.store.open_run import OpenRun
from orchestrator.store.records import EventRecord, RunRecord
from orchestrator.transcript import words
from perdure.contract import FunctionReference, MessageType, RunStatus, StatusChangeTarget

runs = tables.runs


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run that was checked and can be written."""

    cluster_id: str
    id: str
    message_id: str
    prompt: str
    name: str
    model: str
    system_prompt: str | None
    result_schema: str | None
    attached_functions: Sequence[FunctionReference] | None
    on_status_change: StatusChangeTarget | None
    metadata: Mapping[str, str]
    context: Mapping[str, object] | None
    interactive: bool
    call_summarization: bool
    idempotency_key: str | None
    request_hash: str


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs to list. `metadata` pairs must all match; `before` is a cursor (created_at, key)."""

    status: RunStatus | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    before: tuple[int, int] | None = None
    limit: int = 50


class RunStore:
    """The runs of all clusters; every question names its cluster."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, new: NewRun) -> tuple[RunRecord, bool]:
        """Write a run with its first message, metadata and event; True if it is new.

        The same id or idempotency key with the same request is the same run. Raises `InvalidRequestError` (code
        `idempotency_mismatch`) where the request differs.
        """
        try:
            async with self._database.write() as write:
                await self._insert(write, new)
        except IntegrityError:
            existing = await self._existing(new)
            if not existing:
                raise
            if len(existing) > 1 or existing[0].request_hash != new.request_hash:
                raise InvalidRequestError(
                    "This id or idempotency key was used with another request before. Use a new one.",
                    code="idempotency_mismatch",
                ) from None
            return existing[0], False
        return await self.get(RunRef(new.cluster_id, new.id)), True

    async def _insert(self, write: Write, new: NewRun) -> None:
        now = now_ms()
        statement = insert(runs).values(
            cluster_id=new.cluster_id,
            id=new.id,
            name=storable(new.name),
            model=new.model,
            system_prompt=new.system_prompt,
            result_schema=new.result_schema,
            attached_functions=None
            if new.attached_functions is None
            else dump([ref.model_dump() for ref in new.attached_functions]),
            on_status_change=None
            if new.on_status_change is None
            else dump(new.on_status_change.model_dump()),
            metadata=dump(dict(new.metadata)),
            context=dump_optional(None if new.context is None else dict(new.context)),
            interactive=new.interactive,
            call_summarization=new.call_summarization,
            idempotency_key=new.idempotency_key,
            request_hash=new.request_hash,
            status=RunStatus.PENDING.value,
            version=1,
            wake_wanted=1,
            wake_at=now,
            created_at=now,
            updated_at=now,
        )
        key = (await write.execute(statement.returning(runs.c.key))).scalar_one()
        await write.execute(
            insert(tables.messages).values(
                run_key=key,
                id=new.message_id,
                turn=1,
                type=MessageType.HUMAN.value,
                data=dump(words(new.prompt)),
                created_at=now,
            )
        )
        if new.metadata:
            await write.execute(
                insert(tables.run_metadata),
                [
                    {"run_key": key, "cluster_id": new.cluster_id, "name": name, "value": value}
                    for name, value in new.metadata.items()
                ],
            )
        await write.execute(
            insert(tables.events).values(
                run_key=key,
                version=1,
                type="run.created",
                data=dump({"name": new.name, "model": new.model, "messageId": new.message_id}),
                created_at=now,
            )
        )
        write.touch(key)

    async def _existing(self, new: NewRun) -> list[RunRecord]:
        """The runs that have this id or this idempotency key: two, if they are not the same one's."""
        same = [runs.c.id == new.id]
        if new.idempotency_key is not None:
            same.append(runs.c.idempotency_key == new.idempotency_key)
        statement = select(runs).where(runs.c.cluster_id == new.cluster_id, or_(*same))
        async with self._database.read() as read:
            return [RunRecord(**row) for row in (await read.execute(statement)).mappings()]

    async def get(self, ref: RunRef) -> RunRecord:
        """The run as it stands. Raises `NotFoundError`."""
        statement = select(runs).where(runs.c.cluster_id == ref.cluster_id, runs.c.id == ref.run_id)
        async with self._database.read() as read:
            row = (await read.execute(statement)).mappings().one_or_none()
        if row is None:
            raise NotFoundError(f"There is no run {ref.run_id!r}.")
        return RunRecord(**row)

    async def status_of(self, run_key: int) -> RunStatus:
        """Only the status, for who waits for it; cancelled where the run was deleted meanwhile."""
        statement = select(runs.c.status).where(runs.c.key == run_key)
        async with self._database.read() as read:
            status = (await read.execute(statement)).scalar_one_or_none()
        return RunStatus.CANCELLED if status is None else RunStatus(status)

    async def page(self, cluster_id: str, wanted: RunFilter) -> list[RunRecord]:
        """Runs, newest first, at most `limit`."""
        async with self._database.read() as read:
            rows = (await read.execute(_listing(cluster_id, wanted))).mappings()
            return [RunRecord(**row) for row in rows]

    async def events(self, ref: RunRef, *, after: int, limit: int) -> list[EventRecord]:
        """The run's events after that version, in order. Raises `NotFoundError`."""
        record = await self.get(ref)
        statement = (
            select(tables.events)
            .where(tables.events.c.run_key == record.key, tables.events.c.version > after)
            .order_by(tables.events.c.version)
            .limit(limit)
        )
        async with self._database.read() as read:
            return [EventRecord(**row) for row in (await read.execute(statement)).mappings()]

    async def cancel(self, ref: RunRef, reason: str) -> RunRecord:
        """Wish for an end. A run that never started is cancelled at once.

        Raises `ConflictError` where the turn is over already; a second cancel is no error and changes nothing.
        """
        async with self._database.write() as write:
            run = await OpenRun.lock(write, ref)
            if run.status is RunStatus.CANCELLED or run.record.cancel_reason is not None:
                return run.record
            if is_final(run.status):
                raise ConflictError(f"The run is {run.status.value} already.", code="run_is_final")
            run.set(cancel_reason=storable(reason))
            if run.status is RunStatus.RUNNING:
                run.event("run.cancel_requested", reason=reason)
            else:
                await run.move(Move.CANCEL, reason=reason)
            run.wish()
            await run.save()
        return await self.get(ref)

    async def resume(self, ref: RunRef) -> RunRecord:
        """Let a paused run go on. Raises `ConflictError` where it is not paused."""
        async with self._database.write() as write:
            run = await OpenRun.lock(write, ref)
            if not can(run.status, Move.RESUME):
                raise ConflictError(
                    f"The run is {run.status.value}, not paused.", code="run_is_not_paused"
                )
            await run.move(Move.RESUME)
            run.wish()
            await run.save()
        return await self.get(ref)

    async def wish(self, ref: RunRef) -> None:
        """Have the sweeper nudge the run's workflow, because something could not be told to Temporal."""
        async with self._database.write() as write:
            run = await OpenRun.lock(write, ref)
            run.wish()
            await run.save()

    async def settle(self, ref: RunRef, move: Move, reason: str) -> bool:
        """End the turn from outside the model loop, where it has not ended by itself; True if a handler is to be told.

        A cancel takes its reason from the wish; a turn that was to be cancelled does not fail instead.
        """
        async with self._database.write() as write:
            run = await OpenRun.lock(write, ref)
            if not can(run.status, move):
                return False
            await run.break_off(move, reason)
            run.read_wishes()
            await run.save()
        return run.has_handler


def _listing(cluster_id: str, wanted: RunFilter) -> Select[tuple[object, ...]]:
    pairs = tables.run_metadata
    statement = select(runs).where(runs.c.cluster_id == cluster_id)
    if wanted.status is not None:
        statement = statement.where(runs.c.status == wanted.status.value)
    for name, value in wanted.metadata:
        has_pair = select(pairs.c.run_key).where(
            pairs.c.cluster_id == cluster_id, pairs.c.name == name, pairs.c.value == value
        )
        statement = statement.where(runs.c.key.in_(has_pair))
    if wanted.before is not None:
        created_at, key = wanted.before
        statement = statement.where(
            or_(
                runs.c.created_at < created_at,
                and_(runs.c.created_at == created_at, runs.c.key < key),
            )
        )
    return statement.order_by(runs.c.created_at.desc(), runs.c.key.desc()).limit(wanted.limit)
