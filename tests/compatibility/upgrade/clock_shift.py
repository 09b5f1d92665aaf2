"""Moves the times in an old state folder, so that it looks as if its stack ended a moment ago.

Without that the fixtures would expire: a run's deadline, an approval, a model step's 24 hours in Temporal.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

_DAY = 86_400
_STORE_TIME = re.compile(r".+_at|.+_until|waiting_since")
_TIMESTAMP = re.compile(rb"([\x06-\x0c]\x08)([\x80-\xff]{4}[\x01-\x07])")
"""A protobuf `Timestamp` within a message: its length, then its seconds, five bytes for the times of this century."""


def shift_store(path: Path, seconds: int) -> None:
    """Move all times of a store on SQLite."""
    with closing(sqlite3.connect(path)) as store, store:
        for table, column in _columns(store):
            if _STORE_TIME.fullmatch(column):
                store.execute(
                    f'UPDATE "{table}" SET "{column}" = "{column}" + ?',  # noqa: S608 - the schema's own names
                    (seconds * 1000,),
                )


def shift_postgres(postgres: psycopg.Connection, seconds: int) -> None:
    """Move all times of a store on PostgreSQL."""
    columns = postgres.execute(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
    ).fetchall()
    for table, column in columns:
        if _STORE_TIME.fullmatch(column):
            names = {"table": sql.Identifier(table), "column": sql.Identifier(column)}
            query = sql.SQL("UPDATE {table} SET {column} = {column} + %s").format(**names)
            postgres.execute(query, (seconds * 1000,))


def shift_temporal(path: Path, ended_at: int, seconds: int) -> None:
    """Move the times near `ended_at` (s) in the database of an embedded Temporal server."""
    with closing(sqlite3.connect(path)) as temporal, temporal:
        for table, column in _columns(temporal):
            if column in ("data", "state"):
                _change(temporal, table, column, lambda blob: _moved(blob, ended_at, seconds))
            elif (table, column) == ("timer_tasks", "visibility_timestamp"):
                _change(temporal, table, column, lambda text: _moved_text(text, seconds))


def _columns(database: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Tables and their columns, without those of full-text indexes."""
    tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in tables:
        if "_fts_" not in table:
            for _, column, *_ in database.execute(f'PRAGMA table_info("{table}")'):
                yield table, column


def _change(
    database: sqlite3.Connection, table: str, column: str, change: Callable[[Any], Any]
) -> None:
    rows = database.execute(f'SELECT rowid, "{column}" FROM "{table}"').fetchall()  # noqa: S608 - as above
    database.executemany(
        f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?',  # noqa: S608 - as above
        [(change(value), row) for row, value in rows if isinstance(value, (bytes, str))],
    )


def _moved(blob: bytes, ended_at: int, seconds: int) -> bytes:
    def move(found: re.Match[bytes]) -> bytes:
        time = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(found[2]))
        if not ended_at - _DAY < time < ended_at + 60 * _DAY:
            return found[0]
        time += seconds
        moved = bytes((time >> 7 * place & 0x7F) | (place < 4) << 7 for place in range(5))
        return found[1] + moved

    return _TIMESTAMP.sub(move, blob)


def _moved_text(text: str, seconds: int) -> str:
    """A time such as `2026-12-06 12:00:00.081198454+00:00`; the part after the seconds stays."""
    whole, rest = text[:19], text[19:]
    return f"{datetime.fromisoformat(whole) + timedelta(seconds=seconds)}{rest}"
