"""Usage of a cluster, per day and model: of existing and deleted runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement, func, select

from orchestrator.runtime.clock import to_datetime
from orchestrator.store import tables
from orchestrator.store.database.engine import Database, Read

runs, steps, deleted_usage = tables.runs, tables.steps, tables.usage_days

DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class DayUsage:
    """Usage of one model on one day (UTC). Cost in millionths of a dollar."""

    day: date
    model: str
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_micros: int = 0
    model_calls: int = 0
    runs: int = 0


_SUMS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cost_micros",
    "model_calls",
    "runs",
)


class UsageStore:
    """Sums over the steps of a cluster."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def days(self, cluster_id: str, *, since: int) -> list[DayUsage]:
        """Usage since the day (UTC) of that moment (ms), newest day first, then by model."""
        start = since - since % DAY_MS
        totals: dict[tuple[date, str], dict[str, int]] = {}
        async with self._database.read() as read:
            _add(totals, await _of_steps(read, cluster_id, start))
            _add(totals, await _of_runs(read, cluster_id, start))
            _add(totals, await _of_deleted(read, cluster_id, start))
        found = [DayUsage(day, model, **sums) for (day, model), sums in totals.items()]
        return sorted(found, key=lambda usage: (-usage.day.toordinal(), usage.model))


def _add(totals: dict[tuple[date, str], dict[str, int]], rows: Iterable[Mapping[str, Any]]) -> None:
    for row in rows:
        day = row["day"]
        at = date.fromisoformat(day) if isinstance(day, str) else _EPOCH + timedelta(days=int(day))
        sums = totals.setdefault((at, row["model"]), dict.fromkeys(_SUMS, 0))
        for name in _SUMS:
            sums[name] += int(row.get(name) or 0)


def _day(moment: Column[int]) -> ColumnElement[int]:
    """Days since the epoch: integer division is the same in both databases."""
    return (moment // DAY_MS).label("day")


async def _of_steps(read: Read, cluster_id: str, start: int) -> list[dict[str, Any]]:
    day = _day(steps.c.created_at)
    statement = (
        select(
            day,
            steps.c.model,
            func.count().label("model_calls"),
            *(func.sum(steps.c[name]).label(name) for name in _SUMS[:5]),
        )
        .join(runs, runs.c.key == steps.c.run_key)
        .where(
            runs.c.cluster_id == cluster_id,
            runs.c.updated_at >= start,
            steps.c.created_at >= start,
        )
        .group_by(day, steps.c.model)
    )
    return [dict(row) for row in (await read.execute(statement)).mappings()]


async def _of_runs(read: Read, cluster_id: str, start: int) -> list[dict[str, Any]]:
    day = _day(runs.c.created_at)
    statement = (
        select(day, runs.c.model, func.count().label("runs"))
        .where(runs.c.cluster_id == cluster_id, runs.c.created_at >= start, runs.c.kind != "call")
        .group_by(day, runs.c.model)
    )
    return [dict(row) for row in (await read.execute(statement)).mappings()]


async def _of_deleted(read: Read, cluster_id: str, start: int) -> list[dict[str, Any]]:
    first = to_datetime(start).date().isoformat()
    statement = select(deleted_usage).where(
        deleted_usage.c.cluster_id == cluster_id, deleted_usage.c.day >= first
    )
    return [dict(row) for row in (await read.execute(statement)).mappings()]
