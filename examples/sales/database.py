"""One query on the orders database, and nothing but a query: what a model writes is run, so it must be harmless."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

DATABASE = Path(os.environ.get("SALES_DATABASE") or ".perdure/sales.db")
MAX_ROWS = 500
MAX_SECONDS = 10.0
MAX_VALUE_BYTES = 1_000_000

_ALLOWED = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)
_INSTRUCTIONS_BETWEEN_CHECKS = 10_000


class QueryError(Exception):
    """A query that was not run to its end; the text is for whoever wrote the query."""


async def query(sql: str) -> list[dict[str, Any]]:
    """`read_rows` on the example's database, in a thread: an async function must not block its process."""
    return await asyncio.to_thread(read_rows, sql)


def read_rows(
    sql: str,
    database: Path = DATABASE,
    *,
    max_rows: int = MAX_ROWS,
    max_seconds: float = MAX_SECONDS,
) -> list[dict[str, Any]]:
    """The rows of one SELECT, as mappings from column names to values.

    Raises `QueryError` for anything but a query, for more than `max_rows` rows, and for one that takes longer
    than `max_seconds`.
    """
    if not database.is_file():
        raise QueryError(
            f"There is no orders database at {database}: python -m examples.sales.make_data makes it."
        )
    with closing(_open(database, max_seconds)) as connection:
        try:
            cursor = connection.execute(sql)
            columns = [column[0] for column in cursor.description or ()]
            rows = cursor.fetchmany(max_rows + 1)
        except sqlite3.Error as error:
            raise QueryError(_explain(error, max_seconds)) from error
    if len(rows) > max_rows:
        raise QueryError(f"More than {max_rows} rows: add up in SQL with GROUP BY, or use LIMIT.")
    if len(set(columns)) < len(columns):
        raise QueryError("Two columns have the same name: give them different ones with AS.")
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _open(database: Path, max_seconds: float) -> sqlite3.Connection:
    """A connection that can read this file, and do nothing else."""
    connection = sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)
    connection.execute("PRAGMA query_only = ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    connection.set_authorizer(_authorize)
    end = time.monotonic() + max_seconds
    connection.set_progress_handler(lambda: time.monotonic() > end, _INSTRUCTIONS_BETWEEN_CHECKS)
    return connection


def _authorize(action: int, *_: str | None) -> int:
    """Reading only: no ATTACH of another file, no PRAGMA, no temporary table."""
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY


_FORBIDDEN = frozenset({sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY})


def _explain(error: sqlite3.Error, max_seconds: float) -> str:
    code = getattr(error, "sqlite_errorcode", None)
    if code in _FORBIDDEN or "not authorized" in str(error):  # temporary tables have no code for it
        return "Only SELECT is allowed here."
    if code == sqlite3.SQLITE_INTERRUPT:
        return f"The query took longer than {max_seconds:g} s and was stopped."
    if code == sqlite3.SQLITE_TOOBIG:
        return f"A value is larger than {MAX_VALUE_BYTES:,} bytes."
    return f"SQLite says: {error}"
