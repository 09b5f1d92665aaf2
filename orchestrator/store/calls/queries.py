"""Queries of calls for people and programs: one by its id, those of a run, those that a value came from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select

from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.store import tables
from orchestrator.store.calls.blobs import blobs_of
from orchestrator.store.database.engine import Database, Read
from orchestrator.store.database.json_columns import to_json, to_storable_text
from orchestrator.store.records import BlobRecord, CallRecord
from orchestrator.workflows.interface import RunRef
from perdure.contract import MAX_INLINE_RESULT

calls, runs, results = tables.calls, tables.runs, tables.call_results

MAX_LISTED_RESULT = 10_000
"""Characters of a result that a list shows; a longer one is read with its call."""
_KINDS = ("function", "handler")


@dataclass(frozen=True, slots=True)
class CallView:
    """A call in its current state. `content` is its result, if there is one and it is not too long."""

    call: CallRecord
    run_id: str
    run_version: int
    run_status: str
    content: str | None
    blobs: tuple[BlobRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class OriginalResult:
    """A result as the function returned it: JSON text, or the characters of a plain string."""

    content: str
    is_text: bool


class CallQueries:
    """Queries of calls; every one names its cluster."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, cluster_id: str, call_id: str) -> CallView:
        """One call. Raises `NotFoundError`."""
        wanted = _select_views(MAX_INLINE_RESULT).where(
            calls.c.cluster_id == cluster_id, calls.c.id == call_id
        )
        async with self._database.read() as read:
            found = await _read(read, wanted)
        if not found:
            raise NotFoundError(f"There is no call {call_id!r}.")
        return found[0]

    async def original(self, cluster_id: str, call_id: str) -> OriginalResult:
        """A call's whole result. Raises `NotFoundError`, `ConflictError` (`no_result`) if there is none yet."""
        statement = (
            select(results.c.content, calls.c.result_is_text)
            .select_from(calls)
            .outerjoin(results, results.c.call_key == calls.c.key)
            .where(calls.c.cluster_id == cluster_id, calls.c.id == call_id, _is_public())
        )
        async with self._database.read() as read:
            row = (await read.execute(statement)).one_or_none()
        if row is None:
            raise NotFoundError(f"There is no call {call_id!r}.")
        if row[0] is None:
            raise ConflictError("The call has no result yet.", code="no_result")
        return OriginalResult(row[0], row[1])

    async def page(self, ref: RunRef, *, after: int, limit: int) -> list[CallView]:
        """The calls of a run's model, in the order it made them. Raises `NotFoundError`."""
        async with self._database.read() as read:
            of_run = await _of_run(read, ref)
            wanted = _select_views(MAX_LISTED_RESULT).where(of_run, calls.c.key > after)
            return await _read(read, wanted.order_by(calls.c.key).limit(limit))

    async def references(
        self, ref: RunRef, token: str, *, before: int | None, below: int | None, limit: int
    ) -> list[CallView]:
        """The calls of a run whose result contains exactly that text, newest first. Raises `NotFoundError`.

        `before` is a time (ms) before which they must have ended, `below` the key of the last one of the page before.
        """
        async with self._database.read() as read:
            wanted = _select_views(MAX_LISTED_RESULT).where(
                await _of_run(read, ref), _result_contains(token)
            )
            if before is not None:
                wanted = wanted.where(calls.c.finished_at < before)
            if below is not None:
                wanted = wanted.where(calls.c.key < below)
            return await _read(read, wanted.order_by(calls.c.key.desc()).limit(limit))


async def calls_by_id(read: Read, run_key: int, call_ids: Collection[str]) -> list[CallView]:
    """Calls of a run in the form of a list, in the order they were made."""
    if not call_ids:
        return []
    wanted = _select_views(MAX_LISTED_RESULT).where(
        calls.c.run_key == run_key, calls.c.kind == "function"
    )
    return await _read(read, wanted.where(calls.c.id.in_(call_ids)).order_by(calls.c.key))


async def calls_after(read: Read, run_key: int, call_id: str, *, limit: int) -> list[CallView]:
    """A run's calls that were made after that one; all of them if it is unknown."""
    known = select(calls.c.key).where(calls.c.run_key == run_key, calls.c.id == call_id)
    wanted = _select_views(MAX_LISTED_RESULT).where(
        calls.c.run_key == run_key,
        calls.c.kind == "function",
        calls.c.key > func.coalesce(known.scalar_subquery(), 0),
    )
    return await _read(read, wanted.order_by(calls.c.key).limit(limit))


async def _of_run(read: Read, ref: RunRef) -> ColumnElement[bool]:
    statement = select(runs.c.key).where(
        runs.c.cluster_id == ref.cluster_id, runs.c.id == ref.run_id
    )
    key = (await read.execute(statement)).scalar_one_or_none()
    if key is None:
        raise NotFoundError(f"There is no run {ref.run_id!r}.")
    return and_(calls.c.run_key == key, calls.c.kind == "function")


def _is_public() -> ColumnElement[bool]:
    return calls.c.kind.in_(_KINDS)


def _result_contains(token: str) -> ColumnElement[bool]:
    """SQL: the result contains the text. LIKE has wildcards, and ignores case on SQLite; replacing the text does neither.

    In JSON the text is searched with its escapes.
    """
    plain, escaped = to_storable_text(token), to_json(token)[1:-1]
    return or_(
        and_(calls.c.result_is_text.is_(True), _contains_text(plain)),
        and_(
            calls.c.result_is_text.is_(False), or_(_contains_text(plain), _contains_text(escaped))
        ),
    )


def _contains_text(text: str) -> ColumnElement[bool]:
    content = results.c.content
    return func.length(func.replace(content, text, "")) != func.length(content)


def _select_views(characters: int) -> Select[Any]:
    """Calls with their run, and with their result if it has at most that many characters."""
    return (
        select(
            calls,
            runs.c.id.label("of_run"),
            runs.c.version.label("run_version"),
            runs.c.status.label("run_status"),
            case((calls.c.result_size <= characters, results.c.content)).label("content"),
        )
        .join(runs, runs.c.key == calls.c.run_key)
        .outerjoin(results, results.c.call_key == calls.c.key)
        .where(_is_public())
    )


async def _read(read: Read, wanted: Select[Any]) -> list[CallView]:
    found = [_call(**row) for row in (await read.execute(wanted)).mappings()]
    attached = await blobs_of(read, [one.call.key for one in found])
    return [replace(one, blobs=_blobs(attached, one.call.key)) for one in found]


def _call(
    *, of_run: str, run_version: int, run_status: str, content: str | None, **columns: Any
) -> CallView:
    return CallView(CallRecord(**columns), of_run, run_version, run_status, content)


def _blobs(attached: Sequence[BlobRecord], call_key: int) -> tuple[BlobRecord, ...]:
    return tuple(blob for blob in attached if blob.call_key == call_key)
