"""What is new of a run: its events after a version, and the messages and calls they refer to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import func, or_, select

from orchestrator.errors import NotFoundError
from orchestrator.store import tables
from orchestrator.store.calls.queries import CallView, calls_after, calls_by_id
from orchestrator.store.database.engine import Database, Read
from orchestrator.store.database.json_columns import object_from_json
from orchestrator.store.records import EventRecord, MessageRecord, RunRecord
from orchestrator.workflows.interface import RunRef

runs, messages, events = tables.runs, tables.messages, tables.events

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TimelinePage:
    """One reading of a run."""

    run: RunRecord
    events: Sequence[EventRecord]
    messages: Sequence[MessageRecord]
    calls: Sequence[CallView]
    more: bool


@dataclass(frozen=True, slots=True)
class _Mentioned:
    """The messages and calls that events refer to."""

    message_ids: frozenset[str]
    steps: frozenset[int]
    call_ids: frozenset[str]


class TimelineStore:
    """Timelines of runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, ref: RunRef, *, after: int, limit: int) -> TimelinePage:
        """The run, at most `limit` events after that version, and what they refer to in its current state.

        Raises `NotFoundError`.
        """
        async with self._database.read() as read:
            run = await _run(read, ref)
            statement = (
                select(events)
                .where(events.c.run_key == run.key, events.c.version > after)
                .order_by(events.c.version)
                .limit(limit + 1)
            )
            found = [EventRecord(**row) for row in (await read.execute(statement)).mappings()]
            mentioned = _mentioned(found[:limit])
            return TimelinePage(
                run,
                found[:limit],
                await _messages(read, run.key, mentioned),
                await calls_by_id(read, run.key, mentioned.call_ids),
                more=len(found) > limit,
            )

    async def messages_after(
        self, ref: RunRef, message_id: str, *, limit: int
    ) -> list[MessageRecord]:
        """Messages of the current conversation, written after that one; from the first if it is unknown."""
        async with self._database.read() as read:
            run = await _run(read, ref)
            known = select(messages.c.key).where(
                messages.c.run_key == run.key, messages.c.id == message_id
            )
            statement = (
                select(messages)
                .where(
                    messages.c.run_key == run.key,
                    messages.c.replaced_by.is_(None),
                    messages.c.key > func.coalesce(known.scalar_subquery(), 0),
                )
                .order_by(messages.c.key)
                .limit(limit)
            )
            return [MessageRecord(**row) for row in (await read.execute(statement)).mappings()]

    async def calls_after(self, ref: RunRef, call_id: str, *, limit: int) -> list[CallView]:
        """Calls made after that one; from the first if it is unknown."""
        async with self._database.read() as read:
            run = await _run(read, ref)
            return await calls_after(read, run.key, call_id, limit=limit)


async def _run(read: Read, ref: RunRef) -> RunRecord:
    statement = select(runs).where(runs.c.cluster_id == ref.cluster_id, runs.c.id == ref.run_id)
    row = (await read.execute(statement)).mappings().one_or_none()
    if row is None:
        raise NotFoundError(f"There is no run {ref.run_id!r}.")
    return RunRecord(**row)


def _mentioned(found: Iterable[EventRecord]) -> _Mentioned:
    data = [object_from_json(event.data) for event in found]
    called = _values(data, "callId", str)
    results_of = {f"{call_id}:result" for call_id in called}
    return _Mentioned(
        _values(data, "messageId", str) | results_of, _values(data, "step", int), called
    )


def _values(data: Iterable[Mapping[str, Any]], name: str, kind: type[T]) -> frozenset[T]:
    return frozenset(each[name] for each in data if isinstance(each.get(name), kind))


async def _messages(read: Read, run_key: int, mentioned: _Mentioned) -> list[MessageRecord]:
    statement = (
        select(messages)
        .where(
            messages.c.run_key == run_key,
            or_(messages.c.id.in_(mentioned.message_ids), messages.c.step.in_(mentioned.steps)),
        )
        .order_by(messages.c.key)
    )
    return [MessageRecord(**row) for row in (await read.execute(statement)).mappings()]
