"""Access to either database: `async with database.read()` and `async with database.write()`.

This module and those below it hide the differences between SQLite and PostgreSQL. Reads and writes are different types,
so that the type checker rejects a statement that changes something inside a read.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from sqlalchemy import TextClause, UpdateBase, bindparam, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from orchestrator.rules.lifecycle import is_final
from orchestrator.runtime.encryption import FieldCipher
from orchestrator.runtime.file_lock import FileLock
from orchestrator.store.database.changes.change_feed import ChangeFeed, RunVersion
from orchestrator.store.database.changes.sqlite_source import (
    RUN_VERSIONS_SQL,
    ChangeSource,
    SqliteChangeSource,
)
from orchestrator.store.database.drivers import postgres, sqlite, sqlite_connection
from orchestrator.store.database.drivers.wal_checkpointer import Checkpointer
from orchestrator.store.database.prepared import execute
from orchestrator.store.database.transaction import Read, Write
from orchestrator.workflows.wakeups import Wakeup
from perdure.contract import RunStatus

__all__ = ["Database", "Dialect", "Read", "Write", "open_database"]

Dialect = Literal["sqlite", "postgresql"]

SQLITE_READERS = 4
TRANSACTION_ATTEMPTS = 5

T = TypeVar("T")


class Database:
    """An open database. Created by `open_database`; belongs to the event loop it was opened in."""

    def __init__(
        self,
        dialect: Dialect,
        engine: AsyncEngine,
        changes: ChangeSource,
        *,
        path: Path | None = None,
        checkpointer: Checkpointer | None = None,
        cipher: FieldCipher | None = None,
        plain_sql: bool = False,
    ) -> None:
        self.dialect: Dialect = dialect
        self.engine = engine
        self.path = path
        self.plain_sql = plain_sql
        self.checkpointer = checkpointer
        self.cipher = cipher or FieldCipher(None)
        self.feed = ChangeFeed(self._read_versions, changes)
        self.on_wakeups: Callable[[Collection[Wakeup]], None] = _left_to_the_sweeper
        """Sends the wake-ups of a transaction after its commit; set where the process is composed."""
        self._read_versions_inline = (
            changes.read_versions if isinstance(changes, SqliteChangeSource) else None
        )
        self._read_engine = _make_read_engine(dialect, engine)
        self._inline_engine = (
            self._read_engine if path is None or plain_sql else sqlite.inline_engine(path)
        )
        self._writer_lock = asyncio.Lock()
        self._writer_task: asyncio.Task[object] | None = None
        self._writer: AsyncConnection | None = None

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[Read]:
        """Read from the store. Nothing can be changed in the block."""
        async with self._read_engine.connect() as connection:
            yield Read(connection, self.cipher, plain_sql=self.plain_sql)

    @asynccontextmanager
    async def read_inline(self) -> AsyncGenerator[Read]:
        """The same for queries of one run by its key: on SQLite they are executed in the event loop."""
        async with self._inline_engine.connect() as connection:
            yield Read(connection, self.cipher, plain_sql=self.plain_sql)

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[Write]:
        """One transaction. On SQLite writers take turns, so a block must not wait for anything but the store.

        Raises `sqlalchemy.exc.DBAPIError`; `transact` retries the errors that can be retried.
        """
        async with self._connection_for_writing() as connection:
            write = Write(connection, self.cipher, plain_sql=self.plain_sql)
            try:
                async with connection.begin():
                    try:
                        yield write
                        await write.flush()
                    except BaseException:
                        await write.discard()
                        raise
                    write.committing = True
            finally:
                # Also after a commit with an unknown outcome: a superfluous hint does no harm.
                if write.committing:
                    self.feed.publish(write.changed_runs)
                    self.on_wakeups(write.wakeups)

    async def write_one(self, statement: UpdateBase, parameters: Mapping[str, Any]) -> int:
        """Execute one prepared statement in a transaction of its own: on PostgreSQL one round trip instead of three.

        Returns the number of rows it changed. No waiter of a run is woken.
        """
        if self.dialect == "postgresql":
            async with self._read_engine.connect() as connection:
                if self.plain_sql:
                    return (await connection.execute(statement, parameters)).rowcount
                return (await execute(connection, statement, parameters)).rowcount
        async with self.write() as write:
            return (await write.execute(statement, parameters)).rowcount

    async def transact(self, work: Callable[[Write], Awaitable[T]]) -> T:
        """Run `work` in a transaction, again if the database rolled it back: a deadlock, a lock, or a lost connection.

        `work` may therefore run up to five times and must do nothing but use its `Write`. The last error is raised. A connection
        lost during the commit is raised at once, since the commit may have succeeded.
        """
        for attempt in range(1, TRANSACTION_ATTEMPTS + 1):
            write: Write | None = None
            try:
                async with self.write() as write:
                    return await work(write)
            except DBAPIError as error:
                committing = write is not None and write.committing
                if attempt == TRANSACTION_ATTEMPTS or not _is_retryable(error, committing):
                    raise
            await asyncio.sleep(random.uniform(0.005, 0.02) * 2**attempt)  # noqa: S311 - no secret
        raise AssertionError("unreachable")

    async def aclose(self) -> None:
        """End all waits and close every connection."""
        await self.feed.aclose()
        if self.checkpointer is not None:
            await self.checkpointer.aclose()
        async with self._writer_lock:
            if self._writer is not None:
                await self._writer.close()
                self._writer = None
        await self.engine.dispose()
        if self._inline_engine is not self._read_engine:
            await self._inline_engine.dispose()

    def _connection_for_writing(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return self.engine.connect() if self.dialect == "postgresql" else self._sqlite_writer()

    @asynccontextmanager
    async def _sqlite_writer(self) -> AsyncGenerator[AsyncConnection]:
        """The one writing connection, in turn: tasks of one process never find the database locked."""
        task = asyncio.current_task()
        if task is not None and task is self._writer_task:
            raise RuntimeError("a write inside a write would wait for itself for ever")
        async with self._writer_lock:
            writer = await self._open_sqlite_writer()
            self._writer_task = task
            try:
                yield writer
            finally:
                self._writer_task = None

    async def _open_sqlite_writer(self) -> AsyncConnection:
        if self._writer is not None and self._writer.invalidated:
            # SQLAlchemy invalidates a connection on which a statement was cancelled.
            lost, self._writer = self._writer, None
            await lost.close()
        if self._writer is None:
            self._writer = await sqlite.open_writer(self.engine)
        return self._writer

    async def _read_versions(self, keys: Collection[int]) -> Mapping[int, RunVersion]:
        rows: Iterable[Any] | None = (
            None if self._read_versions_inline is None else self._read_versions_inline(keys)
        )
        if rows is None:
            async with self.read() as read:
                parameters = {"keys": _key_list(self.dialect, keys)}
                rows = (await read.execute(_RUN_VERSIONS[self.dialect], parameters)).all()
        return {
            key: RunVersion(version, is_final(RunStatus(status))) for key, version, status in rows
        }


async def open_database(
    url: str,
    *,
    listen_url: str | None = None,
    checkpoint: bool = True,
    pool_size: int = 10,
    cipher: FieldCipher | None = None,
    plain_sql: bool = False,
) -> Database:
    """Open the store at `sqlite:///path` or `postgresql://user:password@host/database`.

    `listen_url` is a direct connection to the same PostgreSQL where `url` leads through a pooler (then add `?pooler=1`
    to `url`). `checkpoint=False` keeps this process from ever taking the checkpointing role on SQLite. A SQLite file is
    created with its folder; `migrate` creates the tables. `cipher` encrypts confidential fields. `plain_sql` executes
    prepared statements through SQLAlchemy instead of on the driver: slower, the same results. Raises `ValueError` for any
    other URL, and `sqlite3.OperationalError` when the file cannot be opened. PostgreSQL is contacted at the first use.
    """
    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database and parsed.database != ":memory:":
        return await _open_sqlite(
            Path(parsed.database), checkpoint=checkpoint, cipher=cipher, plain_sql=plain_sql
        )
    if backend == "postgresql":
        from orchestrator.store.database.changes.postgres_source import PostgresChangeSource  # noqa: PLC0415 - imports psycopg, 10 MB

        direct = postgres.without_options(make_url(listen_url or url))
        engine = postgres.postgres_engine(parsed, pool_size)
        changes = PostgresChangeSource(direct.render_as_string(hide_password=False))
        return Database("postgresql", engine, changes, cipher=cipher, plain_sql=plain_sql)
    raise ValueError(f"{url!r} is neither sqlite:///path nor postgresql://…")


async def _open_sqlite(
    file: Path, *, checkpoint: bool, cipher: FieldCipher | None, plain_sql: bool
) -> Database:
    path = await asyncio.to_thread(_create_folder, file)
    async with FileLock(migration_lock(path)).hold():
        await asyncio.to_thread(sqlite_connection.use_wal, path)
    return Database(
        "sqlite",
        sqlite.sqlite_engine(path, SQLITE_READERS),
        SqliteChangeSource(path),
        path=path,
        checkpointer=Checkpointer(path) if checkpoint else None,
        cipher=cipher,
        plain_sql=plain_sql,
    )


def _left_to_the_sweeper(_: Collection[Wakeup]) -> None:
    """Used where nothing sends wake-ups: the sweeper finds the requests in the store."""


def _create_folder(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.absolute()


def migration_lock(path: Path) -> Path:
    """The file to lock while changing the database's schema."""
    return Path(f"{path}-migrate.lock")


def _make_read_engine(dialect: Dialect, engine: AsyncEngine) -> AsyncEngine:
    """PostgreSQL reads need no transaction: in READ COMMITTED each statement has its own snapshot anyway.

    Without one, a read is one round trip instead of three.
    """
    if dialect == "sqlite":
        return engine
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def _is_retryable(error: DBAPIError, committing: bool) -> bool:
    if sqlite_connection.is_busy(error.orig) or postgres.should_retry(error.orig):
        return True
    return error.connection_invalidated and not committing


# One parameter for any number of runs, so that the statement is prepared once.
_RUN_VERSIONS: dict[Dialect, TextClause] = {
    "sqlite": text(RUN_VERSIONS_SQL).bindparams(bindparam("keys")),
    "postgresql": text(
        "SELECT key, version, status FROM runs WHERE key = ANY(CAST(:keys AS bigint[]))"
    ).bindparams(bindparam("keys")),
}


def _key_list(dialect: Dialect, keys: Collection[int]) -> object:
    return str(list(keys)) if dialect == "sqlite" else list(keys)
