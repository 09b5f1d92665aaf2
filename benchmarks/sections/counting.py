"""What the databases and Temporal count themselves: transactions, rows, bytes, requests."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path

import httpx2
import psycopg

from benchmarks.sides.processes import cpu_ms, listening_ports
from benchmarks.sides.stack import Stack

_LINE = re.compile(r"^(\w+)\{(.*)\} ([0-9.e+]+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_WRITES = re.compile("^(Create|Update|Append|Add|Complete|RangeComplete|Delete|Upsert|Record)")

Counts = dict[str, float]


class Counters:
    """Everything that is counted of a stack, as it stands at a moment."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._metrics = _metrics_address(stack)

    def read(self) -> Counts:
        """All counts by name."""
        busy = {"temporal_cpu_ms": cpu_ms(self._stack.processes["temporal"])}
        return busy | self._of_temporal() | self._of_store()

    def _of_temporal(self) -> Counts:
        if self._metrics is None:
            return {}
        text = httpx2.get(self._metrics, timeout=30).text
        samples = [
            (name, dict(_LABEL.findall(labels)), float(value))
            for name, labels, value in _LINE.findall(text)
        ]

        def total(metric: str, fits: Callable[[Mapping[str, str]], bool]) -> float:
            return sum(value for name, labels, value in samples if name == metric and fits(labels))

        return {
            "temporal_requests": total("service_requests", _is_request),
            "temporal_store_requests": total("persistence_requests", lambda _: True),
            "temporal_store_writes": total(
                "persistence_requests", lambda labels: bool(_WRITES.match(labels["operation"]))
            ),
            "temporal_actions": total("action", lambda labels: labels["namespace"] == "default"),
        }

    def _of_store(self) -> Counts:
        if self._stack.store == "sqlite":
            return {"store_bytes": _file_bytes(self._stack.state_dir / "perdure.db")}
        with psycopg.connect(self._stack.database_url, autocommit=True) as connection:
            row = connection.execute(_POSTGRES).fetchone()
        return dict(zip(_POSTGRES_NAMES, map(float, row or ()), strict=True))


def _is_request(labels: Mapping[str, str]) -> bool:
    return labels["service_name"] == "frontend" and labels["namespace"] == "default"


_POSTGRES_NAMES = (
    "store_transactions",
    "store_write_transactions",
    "store_rows_inserted",
    "store_rows_updated",
    "store_rows_deleted",
    "store_wal_bytes",
    "store_bytes",
)
_POSTGRES = """
SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()),
       pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
       (SELECT sum(n_tup_ins) FROM pg_stat_user_tables),
       (SELECT sum(n_tup_upd) FROM pg_stat_user_tables),
       (SELECT sum(n_tup_del) FROM pg_stat_user_tables),
       pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0'),
       (SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables)
"""


def _metrics_address(stack: Stack) -> str | None:
    """Where the embedded Temporal server tells its metrics: a free port of its own choice."""
    for port in listening_ports(stack.processes["temporal"]):
        address = f"http://127.0.0.1:{port}/metrics"
        with suppress(httpx2.HTTPError):
            answer = httpx2.get(address, timeout=5)
            if answer.is_success and "service_requests" in answer.text:
                return address
    return None


def _file_bytes(path: Path) -> float:
    """Bytes of the used pages of a SQLite file, those in its log included."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    return float((pages - free) * size)
