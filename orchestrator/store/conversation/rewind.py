"""Rewinds of a conversation: an edited message, or a retry from one. Replaced messages are kept and marked.

The conversation is cut behind a message. A reply in progress when that message was written does not know the message:
it is kept and ordered before it, with its calls and their results, however late those arrive. Everything else that came
later is replaced, its open calls get a rejection as their result, and the model begins again from the message.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, func, insert, or_, select, true, update

from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.llm.transcript import last_seen_key, text_data
from orchestrator.rules.lifecycle import Trigger, allows, is_final
from orchestrator.runtime.ids import new_id
from orchestrator.store import tables
from orchestrator.store.calls.rows import UPDATE_CALL, open_calls, record_result
from orchestrator.store.database.engine import Database, Read
from orchestrator.store.database.json_columns import object_from_json, to_json
from orchestrator.store.records import CallRecord, MessageRecord, RunRecord
from orchestrator.store.runs.locked_run import LockedRun
from orchestrator.workflows.interface import RunRef
from perdure.contract import MessageType, ResultType, RunStatus
from perdure.contract.event_types import MessageEdited, RunRetried

messages = tables.messages

_SENT_TYPES = (MessageType.HUMAN.value, MessageType.SUPERVISOR.value)
_REPLACED = "Replaced: an earlier message of the conversation was edited or tried again."


@dataclass(frozen=True, slots=True)
class _Cut:
    """The position at which a conversation is cut."""

    key: int
    """Key of the message behind which it is cut."""
    last_kept_step: int | None
    """The last step before the message: its reply was recorded, or did not know the message. What belongs to the step
    is kept, whether it was written before or after the message.
    """


class RewindStore:
    """Edits and retries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def edit(self, ref: RunRef, message_id: str, text: str) -> tuple[MessageRecord, bool]:
        """Replace a message's text and begin again from there; False if it has that text already.

        Raises `NotFoundError` for an unknown message, `ConflictError` if it cannot be edited or the run accepts no
        messages.
        """
        async with self._database.write() as write:
            run = await LockedRun.lock(write, ref)
            message = await _find(write, run.key, message_id)
            _check_run(run.record)
            _check_message(message)
            if object_from_json(message.data) == text_data(text):
                return message, False
            replaced = await _rewind(run, message)
            edited = await _replace(run, message, text)
            run.event(MessageEdited(message_id=message.id, replaced=replaced, turn=run.turn))
            await run.save()
        return edited, True

    async def retry(self, ref: RunRef, message_id: str | None) -> RunRecord:
        """Begin again from a message, by default from the last one of a person; returns the run as it was before.

        Raises as `edit` does.
        """
        async with self._database.write() as write:
            run = await LockedRun.lock(write, ref)
            _check_run(run.record)
            if message_id is None:
                message = await _last_sent_message(write, run.key)
            else:
                message = await _find(write, run.key, message_id)
            _check_message(message)
            replaced = await _rewind(run, message)
            run.event(RunRetried(message_id=message.id, replaced=replaced, turn=run.turn))
            await run.save()
        return run.record


async def _find(read: Read, run_key: int, message_id: str) -> MessageRecord:
    statement = select(messages).where(messages.c.run_key == run_key, messages.c.id == message_id)
    row = (await read.execute(statement)).mappings().one_or_none()
    if row is None:
        raise NotFoundError(f"The run has no message {message_id!r}.")
    return MessageRecord(**row)


async def _last_sent_message(read: Read, run_key: int) -> MessageRecord:
    statement = (
        select(messages)
        .where(
            messages.c.run_key == run_key,
            messages.c.type.in_(_SENT_TYPES),
            messages.c.step.is_(None),
            messages.c.replaced_by.is_(None),
        )
        .order_by(messages.c.key.desc())
        .limit(1)
    )
    row = (await read.execute(statement)).mappings().one_or_none()
    if row is None:
        raise ConflictError("The run has no message to begin again from.", code="not_editable")
    return MessageRecord(**row)


def _check_run(record: RunRecord) -> None:
    if not record.interactive:
        raise ConflictError(
            "The run is not interactive. Create it with interactive: true to go back in it.",
            code="run_is_not_interactive",
        )
    if record.run_status is RunStatus.CANCELLED or (
        record.cancel_reason is not None and not is_final(record.run_status)
    ):
        raise ConflictError("The run was cancelled; start a new one.", code="run_is_cancelled")


def _check_message(message: MessageRecord) -> None:
    if message.replaced_by is not None:
        raise ConflictError(
            f"The message was replaced: {message.replaced_by!r} was edited or tried again.",
            code="message_is_replaced",
        )
    if message.type not in _SENT_TYPES or message.step is not None:
        raise ConflictError(
            "Only messages that were sent to the run can be edited or tried again.",
            code="not_editable",
        )


async def _rewind(run: LockedRun, message: MessageRecord) -> int:
    """Cut the conversation behind the message and let the run continue from there; returns how many messages were replaced."""
    cut = await _cut_after(run.write, message)
    replaced = await _count_later(run.write, run.key, cut)
    if allows(run.status, Trigger.REVIVE):  # first: nothing is done on a run that has ended
        await run.transition(Trigger.REVIVE)
    still_open = await _reject_calls(run, cut)
    await _mark_later(run, cut, message.id)
    run.set(rewinds=run.record.rewinds + 1, corrections=0, tries=0)
    if not still_open and allows(run.status, Trigger.RESUME):
        await run.transition(Trigger.RESUME)
    elif not still_open:
        run.clear_waiting_for()
    run.request_wakeup()
    return replaced


async def _cut_after(read: Read, message: MessageRecord) -> _Cut:
    """At most the first later reply did not know the message: the next one began with all earlier messages."""
    statement = (
        select(messages.c.step, messages.c.data)
        .where(
            messages.c.run_key == message.run_key,
            messages.c.key > message.key,
            messages.c.type == MessageType.AGENT.value,
            messages.c.replaced_by.is_(None),
        )
        .order_by(messages.c.key)
        .limit(1)
    )
    row = (await read.execute(statement)).one_or_none()
    if row is None or last_seen_key(object_from_json(row.data)) >= message.key:
        return _Cut(message.key, await _last_step(read, message))
    return _Cut(message.key, row.step)


async def _last_step(read: Read, message: MessageRecord) -> int | None:
    """The step of the last reply before the message."""
    statement = select(func.max(messages.c.step)).where(
        messages.c.run_key == message.run_key,
        messages.c.key < message.key,
        messages.c.type == MessageType.AGENT.value,
        messages.c.replaced_by.is_(None),
    )
    step: int | None = (await read.execute(statement)).scalar_one()
    return step


def _later(run_key: int, cut: _Cut) -> ColumnElement[bool]:
    """The messages that are replaced when the conversation is cut there."""
    after_cut = (
        true()
        if cut.last_kept_step is None
        else or_(messages.c.step.is_(None), messages.c.step > cut.last_kept_step)
    )
    return and_(
        messages.c.run_key == run_key,
        messages.c.key > cut.key,
        messages.c.replaced_by.is_(None),
        after_cut,
    )


async def _count_later(read: Read, run_key: int, cut: _Cut) -> int:
    statement = select(func.count()).select_from(messages).where(_later(run_key, cut))
    return int((await read.execute(statement)).scalar_one())


async def _reject_calls(run: LockedRun, cut: _Cut) -> list[CallRecord]:
    """Cancel the open calls of replaced replies."""
    replies = _later(run.key, cut), messages.c.type == MessageType.AGENT.value
    statement = select(func.min(messages.c.step)).where(*replies)
    first: int | None = (await run.write.execute(statement)).scalar_one()
    still_open: list[CallRecord] = []
    for call in await open_calls(run.write, run.key):
        if first is None or call.step is None or call.step < first:
            still_open.append(call)
        elif call.result_type is None:
            await record_result(run, call, ResultType.REJECTION, _REPLACED)
        else:  # a summary of its result would not be read
            await run.write.execute(UPDATE_CALL, {"of_key": call.key, "shown": True})
    return still_open


async def _mark_later(run: LockedRun, cut: _Cut, message_id: str) -> None:
    await run.write.execute(
        update(messages).where(_later(run.key, cut)).values(replaced_by=message_id)
    )


async def _replace(run: LockedRun, message: MessageRecord, text: str) -> MessageRecord:
    """Write the new text under the message's id; the old text gets an id of its own."""
    await run.write.execute(
        update(messages)
        .where(messages.c.key == message.key)
        .values(id=new_id(), replaced_by=message.id)
    )
    edited = {
        "run_key": run.key,
        "id": message.id,
        "turn": run.turn,
        "type": message.type,
        "data": to_json(text_data(text)),
        "created_at": run.now,
    }
    statement = insert(messages).values(**edited).returning(messages)
    return MessageRecord(**(await run.write.execute(statement)).mappings().one())
