"""SQLite below SQLAlchemy: one thread per connection, one hop to it per statement.

SQLAlchemy's aiosqlite dialect crosses to the connection's thread up to four times for a statement (open a cursor,
execute, fetch, close) and once more for BEGIN. A crossing costs about as much as the statement itself, so this driver,
which that dialect takes in place of aiosqlite's connection, does a statement's whole work in one: three statements and
a commit take about 0.75 ms instead of 1.35, a read 0.23 instead of 0.55 (2 cores; `benchmarks/store.py`).

A transaction begins by itself with the first statement: BEGIN IMMEDIATE for the writer, a deferred snapshot for readers.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Literal, Self, TypeVar

from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

BUSY_SECONDS = 5.0
_WAL_LIMIT_BYTES = 1024 * 1024
_BUSY_PAUSE_SECONDS = 0.0005

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
        await self._connection.submit(lambda: self._work("execute", statement, parameters))

    async def executemany(self, statement: str, parameters: Sequence[Sequence[Any]]) -> None:
        await self._connection.submit(lambda: self._work("executemany", statement, parameters))

    async def fetchall(self) -> list[Any]:
        return self._rows

    async def close(self) -> None:
        self._rows = []

    def _work(
        self, method: Literal["execute", "executemany"], statement: str, parameters: Sequence[Any]
    ) -> None:
        cursor = self._connection.begun().cursor()
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

    isolation_level: None = None  # transactions are begun by `begun`, never by the sqlite3 module

    def __init__(self, path: Path, *, foreign_keys: bool = True) -> None:
        self._path = path
        self._foreign_keys = foreign_keys
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = Thread(target=self._serve, name=f"sqlite {path.name}", daemon=True)
        self._raw: sqlite3.Connection | None = None
        self._writes = False

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
        self._jobs.put((future, work))
        return future

    def begun(self) -> sqlite3.Connection:
        """The raw connection inside a transaction. Only for the connection's thread."""
        raw = self._opened()
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
        await self.submit(lambda: self._opened().create_function(*arguments, **options))

    async def commit(self) -> None:
        await self.submit(lambda: self._end("COMMIT"))

    async def rollback(self) -> None:
        # Not awaited: whatever is submitted next comes after it, and so no cancellation can come between.
        self._jobs.put((None, lambda: self._end("ROLLBACK")))

    async def close(self) -> None:
        if self._raw is not None:
            await self.submit(self._close)
            self.stop()

    def stop(self) -> None:
        self._jobs.put((None, self._close))
        self._jobs.put(None)

    # -- inside the thread -------------------------------------------------------------------------

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, work = job
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - it is raised where the work was submitted
                self._settle(future, None, error)
            else:
                self._settle(future, result, None)

    def _settle(
        self, future: asyncio.Future[Any] | None, result: object, error: BaseException | None
    ) -> None:
        if future is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for it any more
            self._loop.call_soon_threadsafe(_resolve, future, result, error)

    def _open(self) -> None:
        raw = connect(self._path)
        raw.execute(f"PRAGMA foreign_keys={'ON' if self._foreign_keys else 'OFF'}")
        raw.execute("PRAGMA query_only=ON")
        self._raw = raw

    def _become_writer(self) -> None:
        raw = self._opened()
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

    def _opened(self) -> sqlite3.Connection:
        if self._raw is None:
            raise sqlite3.OperationalError("no active connection")
        return self._raw


def _resolve(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if future.done():  # its task was cancelled meanwhile
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def connect(path: Path) -> sqlite3.Connection:
    """A raw autocommit connection with the house's settings. It may be used from any one thread at a time."""
    raw = sqlite3.connect(
        path,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
    )
    raw.execute("PRAGMA synchronous=FULL")
    raw.execute("PRAGMA wal_autocheckpoint=0")  # one process checkpoints: see checkpoint.py
    # A WAL that starts anew is cut to this size, so that the file's size says how much is in it.
    raw.execute(f"PRAGMA journal_size_limit={_WAL_LIMIT_BYTES}")
    return raw


def begin_immediate(raw: sqlite3.Connection) -> None:
    """Begin a writing transaction as soon as no other process writes.

    SQLite's own busy handler sleeps up to 100 ms between two tries, so a writer that just missed its turn would wait
    for a lock that is free; this asks every half millisecond. Raises `sqlite3.OperationalError` after 5 s.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            raw.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            # In the connection's own thread; SQLite tells nobody when a lock is free, so one has to ask.
            time.sleep(_BUSY_PAUSE_SECONDS)
        else:
            return


def is_busy(error: BaseException | None) -> bool:
    """True when another connection was in the way ("database is locked")."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF == sqlite3.SQLITE_BUSY


def use_wal(path: Path) -> None:
    """Put the file into WAL mode, which it then stays in. Only one process at a time may try.

    Raises `sqlite3.OperationalError` where the file system cannot carry a WAL (network file systems).
    """
    raw = connect(path)
    try:
        (mode,) = raw.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise sqlite3.OperationalError(f"{path} cannot use a write-ahead log (mode {mode!r})")
    finally:
        raw.close()


def sqlite_engine(path: Path, readers: int, *, foreign_keys: bool = True) -> AsyncEngine:
    """An engine whose pool holds `readers` reading connections and the writer."""

    async def creator() -> SqliteConnection:
        return await SqliteConnection(path, foreign_keys=foreign_keys).open()

    url = make_url("sqlite+aiosqlite://").set(database=str(path))
    return create_async_engine(
        url,
        async_creator=creator,
        pool_size=readers + 1,
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
