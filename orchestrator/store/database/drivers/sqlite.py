"""SQLite below SQLAlchemy: one thread per connection, one hop to it per statement.

SQLAlchemy's aiosqlite dialect crosses to the connection's thread up to four times for a statement (open a cursor,
execute, fetch, close) and once more for BEGIN. A crossing costs about as much as the statement itself, so this driver,
which that dialect takes in place of aiosqlite's connection, does a statement's whole work in one: three statements and
a commit take about 0.75 ms instead of 1.35, a read 0.23 instead of 0.55 (2 cores; `benchmarks/sections/store.py`).

A transaction begins by itself with the first statement: BEGIN IMMEDIATE for the writer, a deferred snapshot for readers.

Inside a writing transaction statements that are marked `inline` do not cross at all: SQLite changes pages in memory, and
only the COMMIT waits for the disk. So a transaction that locks a run, writes some rows and commits crosses once.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Literal, Self, TypeVar

from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from typing_extensions import override

from orchestrator.store.database.drivers.sqlite_connection import (
    begin_immediate,
    can_begin_now,
    connect,
)

_MAX_INLINE_LENGTH = 65_536
"""Characters or bytes of one value that are written in the connection's thread."""
_MAX_INLINE_ROWS = 50
"""Rows of one statement of which the same is true."""
_INLINE_CONNECTIONS = 2
"""At once. They hardly ever overlap, since none of them waits for anything."""

T = TypeVar("T")
_Job = tuple["asyncio.Future[Any] | None", Callable[[], Any]]


class SqliteCursor:
    """One statement: executed and fetched in one visit to the connection's thread."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        if self._connection.can_run_inline([parameters]):
            self._run("execute", statement, parameters)
        else:
            await self._connection.submit(lambda: self._run("execute", statement, parameters))

    async def executemany(self, statement: str, parameters: Sequence[Sequence[Any]]) -> None:
        if self._connection.can_run_inline(parameters):
            self._run("executemany", statement, parameters)
        else:
            await self._connection.submit(lambda: self._run("executemany", statement, parameters))

    async def fetchall(self) -> list[Any]:
        return self._rows

    async def close(self) -> None:
        self._rows = []

    def _run(
        self, method: Literal["execute", "executemany"], statement: str, parameters: Sequence[Any]
    ) -> None:
        cursor = self._connection.begin_if_needed().cursor()
        try:
            if method == "execute":
                cursor.execute(statement, parameters)
            else:
                cursor.executemany(statement, parameters)
            self.description = cursor.description
            self._rows = cursor.fetchall() if cursor.description else []
            self.rowcount = cursor.rowcount
            self.lastrowid = cursor.lastrowid
        finally:
            cursor.close()


class SqliteConnection:
    """A connection that lives in a thread of its own; what is submitted runs there in order.

    It has the shape that SQLAlchemy's aiosqlite dialect asks of a connection, and no more.
    """

    isolation_level: None = (
        None  # transactions are begun by `begin_if_needed`, never by the sqlite3 module
    )

    def __init__(self, path: Path, *, foreign_keys: bool = True) -> None:
        self._path = path
        self._foreign_keys = foreign_keys
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = Thread(target=self._run_jobs, name=f"sqlite {path.name}", daemon=True)
        self._raw: sqlite3.Connection | None = None
        self._writes = False
        self._pending_jobs = 0
        self.inline = False
        """Whether the statement that comes next is marked so."""

    async def open(self) -> Self:
        """Open the file. Raises `sqlite3.OperationalError` when that cannot be done."""
        self._thread.start()
        try:
            await self.submit(self._open)
        except BaseException:
            self.stop()
            raise
        return self

    async def become_writer(self) -> None:
        """From now on transactions are writing ones; before, writing is refused by SQLite."""
        await self.submit(self._become_writer)

    def submit(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Run `work` in the connection's thread after all that was submitted before it."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._put(future, work)
        return future

    def can_run_inline(self, rows: Sequence[Sequence[Any]]) -> bool:
        """Whether the statement may be executed here and now, in a transaction that is begun then."""
        inline, self.inline = self.inline, False
        if not (inline and self._writes and self._pending_jobs == 0) or _is_large(rows):
            return False
        return self._require_open().in_transaction or can_begin_now(self._require_open())

    def begin_if_needed(self) -> sqlite3.Connection:
        """The raw connection inside a transaction. Only for the connection's thread."""
        raw = self._require_open()
        if not raw.in_transaction:
            if self._writes:
                begin_immediate(raw)
            else:
                raw.execute("BEGIN")
        return raw

    # -- what the dialect calls --------------------------------------------------------------------

    @property
    def _connection(self) -> sqlite3.Connection | None:
        return self._raw

    def cursor(self) -> SqliteCursor:
        return SqliteCursor(self)

    async def create_function(self, *arguments: Any, **options: Any) -> None:
        await self.submit(lambda: self._require_open().create_function(*arguments, **options))

    async def commit(self) -> None:
        await self.submit(lambda: self._end("COMMIT"))

    async def rollback(self) -> None:
        self._submit_unawaited(lambda: self._end("ROLLBACK"))

    async def close(self) -> None:
        if self._raw is not None:
            await self.submit(self._close)
            self.stop()

    def stop(self) -> None:
        self._submit_unawaited(self._close)
        self._jobs.put(None)

    def _submit_unawaited(self, work: Callable[[], object]) -> None:
        # Not awaited: whatever is submitted next comes after it, and so no cancellation can come between.
        self._put(None, work)

    def _put(self, future: asyncio.Future[Any] | None, work: Callable[[], Any]) -> None:
        self._pending_jobs += 1
        self._jobs.put((future, work))

    # -- inside the thread -------------------------------------------------------------------------

    def _run_jobs(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, work = job
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - it is raised where the work was submitted
                self._post_outcome(future, None, error)
            else:
                self._post_outcome(future, result, None)

    def _post_outcome(
        self, future: asyncio.Future[Any] | None, result: object, error: BaseException | None
    ) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nothing waits for it any more
            self._loop.call_soon_threadsafe(self._finish_job, future, result, error)

    def _finish_job(
        self, future: asyncio.Future[Any] | None, result: object, error: BaseException | None
    ) -> None:
        self._pending_jobs -= 1
        if future is not None:
            _resolve(future, result, error)

    def _open(self) -> None:
        raw = connect(self._path)
        raw.execute(f"PRAGMA foreign_keys={'ON' if self._foreign_keys else 'OFF'}")
        raw.execute("PRAGMA query_only=ON")
        self._raw = raw

    def _become_writer(self) -> None:
        raw = self._require_open()
        self._end("ROLLBACK")
        raw.execute("PRAGMA query_only=OFF")
        # `begin_immediate` does the waiting, and more closely than SQLite would.
        raw.execute("PRAGMA busy_timeout=0")
        self._writes = True

    def _end(self, how: Literal["COMMIT", "ROLLBACK"]) -> None:
        if self._raw is not None and self._raw.in_transaction:
            self._raw.execute(how)

    def _close(self) -> None:
        if self._raw is not None:
            self._raw.close()
            self._raw = None

    def _require_open(self) -> sqlite3.Connection:
        if self._raw is None:
            raise sqlite3.OperationalError("no active connection")
        return self._raw


class InlineConnection(SqliteConnection):
    """One without a thread: what is submitted is done at once, in the event loop.

    A visit to a thread costs ten times as much as a row that is found by its key, and on a busy machine it waits for two
    turns of a processor. For such questions only: whatever takes longer holds up the whole process.
    """

    @override
    async def open(self) -> Self:
        """Open the file. Raises `sqlite3.OperationalError` when that cannot be done."""
        self._open()
        return self

    @override
    def submit(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Do `work` now."""
        future: asyncio.Future[T] = self._loop.create_future()
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001 - it is raised where the work was submitted
            future.set_exception(error)
        return future

    @override
    def stop(self) -> None:
        self._close()

    @override
    def _submit_unawaited(self, work: Callable[[], object]) -> None:
        work()


def _resolve(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if future.done():  # its task was cancelled meanwhile
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def _is_large(rows: Sequence[Sequence[Any]]) -> bool:
    return len(rows) > _MAX_INLINE_ROWS or any(
        isinstance(value, str | bytes) and len(value) > _MAX_INLINE_LENGTH
        for row in rows
        for value in row
    )


def sqlite_engine(path: Path, readers: int, *, foreign_keys: bool = True) -> AsyncEngine:
    """An engine whose pool holds `readers` reading connections and the writer."""

    return _engine(path, readers + 1, lambda: SqliteConnection(path, foreign_keys=foreign_keys))


def inline_engine(path: Path) -> AsyncEngine:
    """An engine for questions that are answered in the event loop; see `InlineConnection`."""
    return _engine(path, _INLINE_CONNECTIONS, lambda: InlineConnection(path))


def _engine(path: Path, connections: int, make: Callable[[], SqliteConnection]) -> AsyncEngine:
    async def creator() -> SqliteConnection:
        return await make().open()

    url = make_url("sqlite+aiosqlite://").set(database=str(path))
    return create_async_engine(
        url,
        async_creator=creator,
        pool_size=connections,
        max_overflow=0,
        query_cache_size=1_000,
        hide_parameters=True,  # an error must not write what users sent into a log
    )


async def open_writer(engine: AsyncEngine) -> AsyncConnection:
    """Take a connection from the pool for good, and let it write."""
    connection = await engine.connect()
    try:
        driver = (await connection.get_raw_connection()).driver_connection
        assert isinstance(driver, SqliteConnection)  # noqa: S101 - the engine makes no other
        await driver.become_writer()
    except BaseException:
        await connection.close()
        raise
    return connection
