"""Messages of a run: of people, the model and its functions."""

from __future__ import annotations

from sqlalchemy import ColumnElement, bindparam, func, insert, select

from orchestrator.errors import ConflictError, InvalidRequestError, NotFoundError
from orchestrator.llm.transcript import TranscriptEntry, text_data
from orchestrator.rules.lifecycle import Trigger, allows, is_final
from orchestrator.store import tables
from orchestrator.store.database.engine import Database, Read
from orchestrator.store.database.json_columns import object_from_json, to_json
from orchestrator.store.database.prepared import prepared
from orchestrator.store.records import MessageRecord
from orchestrator.store.runs.locked_run import LockedRun
from orchestrator.workflows.interface import RunRef
from perdure.contract import MessageType, RunStatus
from perdure.contract.event_types import MessageAdded

messages, runs = tables.messages, tables.runs

MAX_QUEUED = 1_000
"""Messages of one run that the model has not seen; a further one is refused."""


# Built once: building a statement costs more than sending it.
_AFTER = prepared(
    select(messages.c.key, messages.c.type, messages.c.data)
    .where(
        messages.c.run_key == bindparam("of_run"),
        messages.c.key > bindparam("after"),
        messages.c.replaced_by.is_(None),
    )
    .order_by(messages.c.key)
)


async def entries_after(read: Read, run_key: int, key: int) -> list[TranscriptEntry]:
    """Transcript entries written after that key and not replaced, in the order they were written."""
    rows = await read.execute(_AFTER, {"of_run": run_key, "after": key})
    return [
        TranscriptEntry(key, MessageType(kind), object_from_json(data), characters=len(data))
        for key, kind, data in rows
    ]


class MessageStore:
    """Adds follow-up messages, and reads transcripts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, ref: RunRef, message_id: str, kind: MessageType, text: str
    ) -> tuple[MessageRecord, bool]:
        """Add a follow-up; True if it is new. A run that was done or failed is pending again, in its next turn.

        The same id and text again is the same message. Raises `ConflictError` for a run that is not interactive
        or is cancelled, `InvalidRequestError` if the id was used with another text.
        """
        async with self._database.write() as write:
            run = await LockedRun.lock(write, ref)
            existing = await self._find(write, run.key, message_id)
            if existing is not None:
                if object_from_json(existing.data) != text_data(text):
                    raise InvalidRequestError(
                        "This message id was used with another text before. Use a new one.",
                        pointer="/id",
                        code="idempotency_mismatch",
                    )
                return existing, False
            await self._require_open(write, run)
            if is_final(run.status):
                await run.transition(Trigger.REVIVE)
            values = {
                "run_key": run.key,
                "id": message_id,
                "turn": run.turn,
                "type": kind.value,
                "data": to_json(text_data(text)),
                "created_at": run.now,
            }
            statement = insert(messages).values(**values).returning(messages)
            row = (await write.execute(statement)).mappings().one()
            run.event(MessageAdded(message_id=message_id, message_type=kind.value, turn=run.turn))
            run.request_wakeup()
            await run.save()
        return MessageRecord(**row), True

    @staticmethod
    async def _find(read: Read, run_key: int, message_id: str) -> MessageRecord | None:
        statement = select(messages).where(
            messages.c.run_key == run_key, messages.c.id == message_id
        )
        row = (await read.execute(statement)).mappings().one_or_none()
        return None if row is None else MessageRecord(**row)

    @staticmethod
    async def _require_open(read: Read, run: LockedRun) -> None:
        if not run.record.interactive:
            raise ConflictError(
                "The run is not interactive. Create it with interactive: true to send messages.",
                code="run_is_not_interactive",
            )
        if run.status is RunStatus.CANCELLED or (
            is_final(run.status) and not allows(run.status, Trigger.REVIVE)
        ):
            raise ConflictError("The run was cancelled; start a new one.", code="run_is_cancelled")
        statement = select(func.count()).where(
            messages.c.run_key == run.key,
            messages.c.key > run.record.seen_message,
            messages.c.replaced_by.is_(None),
            messages.c.type.in_([MessageType.HUMAN.value, MessageType.SUPERVISOR.value]),
        )
        if (await read.execute(statement)).scalar_one() >= MAX_QUEUED:
            raise ConflictError(
                f"{MAX_QUEUED} messages are queued already; wait until the run has read them.",
                code="too_many_queued",
            )

    async def transcript(self, run_key: int) -> list[TranscriptEntry]:
        """All entries of a run's transcript, in the order they were written."""
        async with self._database.read() as read:
            return await entries_after(read, run_key, 0)

    async def page(
        self, ref: RunRef, *, after: int, limit: int, replaced: bool | None = False
    ) -> list[MessageRecord]:
        """Messages with a key greater than `after`, oldest first. Raises `NotFoundError`.

        `replaced`: those of the current conversation (False), those that were replaced (True), or both (None).
        """
        statement = (
            select(messages)
            .join(runs, runs.c.key == messages.c.run_key)
            .where(*_of_run(ref), messages.c.key > after)
            .order_by(messages.c.key)
            .limit(limit)
        )
        if replaced is not None:
            marked = messages.c.replaced_by
            statement = statement.where(marked.is_not(None) if replaced else marked.is_(None))
        async with self._database.read() as read:
            found = [MessageRecord(**row) for row in (await read.execute(statement)).mappings()]
            known = found or (await read.execute(select(runs.c.key).where(*_of_run(ref)))).first()
        if not known:
            raise NotFoundError(f"There is no run {ref.run_id!r}.")
        return found


def _of_run(ref: RunRef) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return runs.c.cluster_id == ref.cluster_id, runs.c.id == ref.run_id
