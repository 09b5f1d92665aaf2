"""From what one step costs to what many steps a second need: arithmetic, and the tables of `docs/operate/growth.md`.

`python -m benchmarks.report.growth [FIGURES.jsonl]` prints them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report.figures import Report, number
from benchmarks.sections.costs import THINKING_MS

RATES = (1, 100, 10_000)
"""Steps per second. A step is a model step and a call."""
WAYS = {"over HTTP": "", "hosted": "_hosted"}
"""Where functions are, and how their figures' names end."""

# What is assumed. Everything else is measured.
MODEL_SECONDS = THINKING_MS / 1000
"""A real model thinks. What that asks of Temporal is measured; for the rest only its time counts."""
BUSY = 0.6
"""Share of a core that a process may use, so that it answers in time."""
SHARD_WRITE_MS = 5.0
"""One conditional write of Temporal to a database over a network. A history shard makes one after the other."""
SHARD_BUSY = 0.25
COMMIT_LIMIT = 10_000
"""Write transactions a second that a good single PostgreSQL takes."""

# Limits of the product's processes, by default (docs/operate/operations.md).
MODEL_CALLS_PER_WORKER = 200
CACHED_RUNS_PER_WORKER = 500
POLLS_PER_WORKER = 45
"""20 for workflows, 20 for model steps, 5 for webhooks."""
FUNCTIONS = 20
"""Of a middling installation. An API process polls once for each that machines wait for."""
CONNECTIONS = 12
"""To PostgreSQL, of each process: a pool of 10, one that listens, and one that tells."""
# Temporal Cloud's, as its documentation has them.
ACTIONS_PER_UNIT = 500
"""Actions a second that one Temporal Resource Unit stands for; also the least that a namespace has."""
PRICES = (
    (5e6, 50.0),
    (5e6, 45.0),
    (10e6, 40.0),
    (30e6, 35.0),
    (50e6, 30.0),
    (math.inf, 25.0),
)
"""Dollars per million actions of a month: so many actions at that price, then the next. Beyond 200 million one asks."""
_MONTH = 30 * 86_400
_DAY = 86_400
_MEGA, _GIGA = 1e6, 1e9


@dataclass(frozen=True, slots=True)
class Costs:
    """What one step costs, with functions hosted in one of the two ways; NaN where it was not measured.

    Of Temporal, what was counted with a model that thinks; else in runs of 20 steps, with PostgreSQL where there is one.
    """

    figures: Report
    end: str

    def of(self, figure: str) -> float:
        """A measured figure."""
        thinking = self.plain(f"{figure}_thinking")
        return self.plain(figure) if math.isnan(thinking) else thinking

    def plain(self, figure: str) -> float:
        """The same of a model that does not think, unless the figure's name says otherwise."""
        for store in ("postgresql", "sqlite"):
            value = self.figures.value(f"{figure}{self.end}", store)
            if value is not None:
                return value
        return math.nan

    def cpu(self, process: str) -> float:
        """Milliseconds of processor time; 0 for a process that has no part in it.

        Of Temporal, its requests with a model that thinks, each at what one takes in runs over HTTP of a model that does not:
        while a model thinks Temporal uses more for itself than for the step.
        """
        if process == "temporal":
            busy = Costs(self.figures, "")
            each = busy.plain("temporal_cpu_ms_per_step") / busy.plain("temporal_requests_per_step")
            value = self.of("temporal_requests_per_step") * each
        else:
            value = self.of(f"cpu_ms_per_step_{process}")
        return 0.0 if math.isnan(value) else value


Row = tuple[str, Callable[[Costs], float]]
Need = tuple[str, Callable[[Costs, float], float]]

COSTS: tuple[Row, ...] = (
    ("processor time of the API, ms", lambda one: one.cpu("api")),
    ("… of the Temporal workers, ms", lambda one: one.cpu("workers")),
    ("… of the function workers (yours), ms", lambda one: one.cpu("function_worker")),
    ("… of Temporal, ms", lambda one: one.cpu("temporal")),
    ("… of PostgreSQL, ms", lambda one: one.cpu("postgresql")),
    ("transactions of the store", lambda one: one.of("store_transactions_per_step")),
    ("… of these, writing", lambda one: one.of("store_write_transactions_per_step")),
    ("rows inserted", lambda one: one.of("store_rows_inserted_per_step")),
    ("rows updated", lambda one: one.of("store_rows_updated_per_step")),
    ("write-ahead log, bytes", lambda one: one.of("store_wal_bytes_per_step")),
    ("stored, bytes", lambda one: one.of("store_bytes_per_step")),
    ("Temporal: requests to its frontend", lambda one: one.of("temporal_requests_per_step")),
    ("… requests to its database", lambda one: one.of("temporal_store_requests_per_step")),
    ("… of these, writing", lambda one: one.of("temporal_store_writes_per_step")),
    ("… history events", lambda one: one.of("history_events_per_step")),
    ("… history bytes", lambda one: one.of("history_bytes_per_step")),
    ("… actions of Temporal Cloud", lambda one: one.of("temporal_actions_per_step")),
)


def cores(process: str) -> Callable[[Costs, float], float]:
    """Cores that a process uses at that many steps a second."""
    return lambda one, rate: rate * one.cpu(process) / 1000


def api_processes(one: Costs, rate: float) -> float:
    """A Python process uses one core."""
    return math.ceil(cores("api")(one, rate) / BUSY) or 1


def model_calls(_: Costs, rate: float) -> float:
    """Model calls that are under way at once."""
    return rate * MODEL_SECONDS


def worker_processes(one: Costs, rate: float) -> float:
    """By processor time, by model calls at once, and by runs in memory: whichever asks for most."""
    by_time = cores("workers")(one, rate) / BUSY
    waiting = model_calls(one, rate)
    return math.ceil(
        max(by_time, waiting / MODEL_CALLS_PER_WORKER, waiting / CACHED_RUNS_PER_WORKER, 1)
    )


def polls(one: Costs, rate: float) -> float:
    """At most: every API process has machines that wait for every function."""
    calls = api_processes(one, rate) * FUNCTIONS
    return worker_processes(one, rate) * POLLS_PER_WORKER + calls


def connections(one: Costs, rate: float) -> float:
    """To PostgreSQL, if all pools are used up."""
    return (worker_processes(one, rate) + api_processes(one, rate)) * CONNECTIONS


def shards(one: Costs, rate: float) -> float:
    """History shards, so that none is busy with writing more than a quarter of the time."""
    writes = rate * one.of("temporal_store_writes_per_step")
    return _up(writes * SHARD_WRITE_MS / 1000 / SHARD_BUSY)


def resource_units(one: Costs, rate: float) -> float:
    """Temporal Cloud's, of 500 actions a second each."""
    return _up(rate * one.of("temporal_actions_per_step") / ACTIONS_PER_UNIT)


def actions_per_month(one: Costs, rate: float) -> float:
    """Millions, if it goes on day and night."""
    return rate * one.of("temporal_actions_per_step") * _MONTH / _MEGA


def price_per_month(one: Costs, rate: float) -> float:
    """Dollars at list prices; what one negotiates beyond 200 million is not in it."""
    left, price = actions_per_month(one, rate) * _MEGA, 0.0
    if math.isnan(left):
        return left
    for amount, dollars in PRICES:
        price += min(left, amount) / _MEGA * dollars
        left = max(0.0, left - amount)
    return price


def _up(value: float) -> float:
    return value if math.isnan(value) else max(1, math.ceil(value))


NEEDS: tuple[Need, ...] = (
    ("API: cores", cores("api")),
    ("API: processes", api_processes),
    ("Temporal workers: cores", cores("workers")),
    ("concurrent model calls", model_calls),
    ("Temporal workers: processes", worker_processes),
    ("function workers (yours): cores", cores("function_worker")),
    ("PostgreSQL: cores", cores("postgresql")),
    ("PostgreSQL: connections, at most", connections),
    (
        "PostgreSQL: write transactions/s",
        lambda one, rate: rate * one.of("store_write_transactions_per_step"),
    ),
    (
        "PostgreSQL: rows written/s",
        lambda one, rate: (
            rate * (one.of("store_rows_inserted_per_step") + one.of("store_rows_updated_per_step"))
        ),
    ),
    (
        "PostgreSQL: write-ahead log, MB/s",
        lambda one, rate: rate * one.of("store_wal_bytes_per_step") / _MEGA,
    ),
    (
        "PostgreSQL: stored, GB/day",
        lambda one, rate: rate * one.of("store_bytes_per_step") * _DAY / _GIGA,
    ),
    ("Temporal: cores", cores("temporal")),
    (
        "Temporal: requests/s to its frontend",
        lambda one, rate: rate * one.of("temporal_requests_per_step"),
    ),
    (
        "Temporal: writes/s to its database",
        lambda one, rate: rate * one.of("temporal_store_writes_per_step"),
    ),
    ("Temporal: history shards, at least", shards),
    (
        "Temporal: history, GB per day of retention",
        lambda one, rate: rate * one.of("history_bytes_per_step") * _DAY / _GIGA,
    ),
    ("Temporal: open polls, at most", polls),
    ("Temporal Cloud: actions/s", lambda one, rate: rate * one.of("temporal_actions_per_step")),
    ("Temporal Cloud: resource units", resource_units),
    ("Temporal Cloud: million actions per month", actions_per_month),
    ("Temporal Cloud: dollars per month for them", price_per_month),
)

LIMITS: tuple[Row, ...] = (
    ("one API process", lambda one: _per_second(one.cpu("api"), BUSY)),
    (
        f"one Temporal worker's {MODEL_CALLS_PER_WORKER} concurrent model calls",
        lambda _: MODEL_CALLS_PER_WORKER / MODEL_SECONDS,
    ),
    ("one Temporal worker's core", lambda one: _per_second(one.cpu("workers"), BUSY)),
    (
        f"one history shard with {SHARD_WRITE_MS:g} ms for a write",
        lambda one: _per_second(one.of("temporal_store_writes_per_step") * SHARD_WRITE_MS, 1),
    ),
    (
        "the minimum of a Temporal Cloud namespace, 500 actions/s",
        lambda one: ACTIONS_PER_UNIT / one.of("temporal_actions_per_step"),
    ),
    (
        f"one PostgreSQL with {COMMIT_LIMIT:,} write transactions/s",
        lambda one: COMMIT_LIMIT / one.of("store_write_transactions_per_step"),
    ),
)


def _per_second(milliseconds: float, share: float) -> float:
    return share * 1000 / milliseconds if milliseconds else math.inf


def growth_tables(figures: Report) -> str:
    """The page's three tables."""
    ways = [Costs(figures, end) for end in WAYS.values()]
    return "\n\n".join(
        (
            "### What a step costs",
            _table(("of one step", *WAYS), [(name, *map(cost, ways)) for name, cost in COSTS]),
            "### What many steps need",
            _table(_need_heads(), [_need_row(name, need, ways) for name, need in NEEDS]),
            "### Capacity of one of each",
            _table(
                ("steps a second at which it saturates", *WAYS),
                sorted(
                    ((name, *map(limit, ways)) for name, limit in LIMITS), key=lambda row: row[1]
                ),
            ),
        )
    )


def _need_heads() -> tuple[str, ...]:
    return ("steps a second", *(f"{rate:,} {way}" for rate in RATES for way in WAYS))


def _need_row(
    name: str, need: Callable[[Costs, float], float], ways: list[Costs]
) -> tuple[str | float, ...]:
    return (name, *(need(one, rate) for rate in RATES for one in ways))


def _table(heads: tuple[str, ...], rows: list[tuple[str | float, ...]]) -> str:
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    lines += [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    return "\n".join(lines)


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return value
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "any"
    return f"{value:,.0f}" if value == int(value) else number(value)


if __name__ == "__main__":
    default = Path(__file__).with_name("measured.jsonl")
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    sys.stdout.write(growth_tables(Report.load(path)) + "\n")
