"""Events of all runs of a cluster, newest first; and new events of one run."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, bindparam, exists, func, select, tuple_

from orchestrator.rules.lifecycle import is_final
from orchestrator.store import tables
from orchestrator.store.database.engine import Database
from orchestrator.store.database.json_columns import to_json
from orchestrator.store.records import EventRecord
from perdure.contract import RunStatus

runs, calls, events = tables.runs, tables.calls, tables.events

# The run's row is returned in any case, without an event if there is none.
_NEW_EVENTS = (
    select(runs.c.version.label("run_version"), runs.c.status.label("run_status"), *events.c)
    .select_from(runs)
    .outerjoin(
        events, and_(events.c.run_key == runs.c.key, events.c.version > bindparam("seen_version"))
    )
    .where(runs.c.key == bindparam("of_run"))
    .order_by(events.c.version)
    .limit(bindparam("at_most"))
)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Filters of events; all given ones must match. `before` is a cursor (created_at, run_key, version)."""

    type: str | None = None
    run_id: str | None = None
    call_id: str | None = None
    machine_id: str | None = None
    service: str | None = None
    before: tuple[int, int, int] | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class NewEvents:
    """New events of a run."""

    version: int
    """The run's version: it may be greater than that of the last of these events."""
    is_final: bool
    """Whether its turn has ended."""
    events: list[EventRecord]


class EventStore:
    """Queries of events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, cluster_id: str, wanted: EventFilter) -> list[tuple[str, EventRecord]]:
        """Events with the ids of their runs, newest first, at most `limit`."""
        # Not a join: both databases would begin with the cluster's runs and sort all their events.
        run_id = select(runs.c.id).where(runs.c.key == events.c.run_key).scalar_subquery()
        of_cluster = exists().where(runs.c.key == events.c.run_key, runs.c.cluster_id == cluster_id)
        statement = (
            select(run_id, *events.c)
            .where(of_cluster, *_conditions(cluster_id, wanted))
            .order_by(events.c.created_at.desc(), events.c.run_key.desc(), events.c.version.desc())
            .limit(wanted.limit)
        )
        async with self._database.read() as read:
            rows = (await read.execute(statement)).all()
        return [(run_id, EventRecord(*columns)) for run_id, *columns in rows]

    async def new_events(self, run_key: int, *, after: int, limit: int) -> NewEvents | None:
        """A run's events after a version, in order, at most `limit`, and its state; None if it was deleted."""
        parameters = {"of_run": run_key, "seen_version": after, "at_most": limit}
        async with self._database.read_inline() as read:
            rows = (await read.execute(_NEW_EVENTS, parameters)).mappings().all()
        if not rows:
            return None
        found = [
            EventRecord(*(row[column.name] for column in events.c))
            for row in rows
            if row["version"] is not None
        ]
        status = RunStatus(rows[0]["run_status"])
        return NewEvents(rows[0]["run_version"], is_final(status), found)


def _conditions(cluster_id: str, wanted: EventFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.type is not None:
        found.append(events.c.type == wanted.type)
    if wanted.run_id is not None:
        of_run = select(runs.c.key).where(
            runs.c.cluster_id == cluster_id, runs.c.id == wanted.run_id
        )
        found.append(events.c.run_key == of_run.scalar_subquery())
    if wanted.call_id is not None:
        of_call = select(calls.c.run_key).where(
            calls.c.cluster_id == cluster_id, calls.c.id == wanted.call_id
        )
        found.append(events.c.run_key.in_(of_call))
    pairs = {"callId": wanted.call_id, "machineId": wanted.machine_id, "service": wanted.service}
    found += [_has_pair(name, value) for name, value in pairs.items() if value is not None]
    if wanted.before is not None:
        position = tuple_(events.c.created_at, events.c.run_key, events.c.version)
        found.append(position < tuple_(*wanted.before))
    return found


def _has_pair(name: str, value: str) -> ColumnElement[bool]:
    """SQL: the event's data has this pair. Case counts, and no character is a wildcard; neither is true of LIKE."""
    pair = f"{to_json(name)}:{to_json(value)}"
    return func.replace(events.c.data, pair, "") != events.c.data
