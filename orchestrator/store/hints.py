"""Where a process learns that a run may have changed, and how it tells the others.

A hint is never the truth: it only says when to look. It may come twice, or too early, or not at all (the feed looks once
a second anyway).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sqlite3
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Protocol

import psycopg
import structlog
from psycopg.conninfo import make_conninfo
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from orchestrator.store.postgres import LIVENESS
from orchestrator.store.sqlite import connect

CHANNEL = "perdure_runs"
SIGHTS = "SELECT key, version, status FROM runs WHERE key IN (SELECT value FROM json_each(:keys))"
"""How runs stand, on SQLite."""
_POLL_SECONDS = 0.01
_GLANCE = 16
"""Runs that are looked at in the event loop; more are looked at in a thread."""
_NOTIFY_PAUSE_SECONDS = 0.005
_KEYS_PER_NOTIFY = 350  # a payload may have 7,999 bytes, a key 19 digits
_RECONNECT_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_FAREWELL_SECONDS = 5

_log = structlog.get_logger()

Hint = Callable[["Iterable[int] | None"], None]
"""Takes the keys of the runs to look at; None means every run that is waited for."""


class Hints(Protocol):
    """Other processes' commits, as far as this one hears of them."""

    def start(self, hint: Hint) -> None:
        """Somebody waits: hint from now on."""
        ...

    def stop(self) -> None:
        """Nobody waits any more."""
        ...

    def tell(self, keys: frozenset[int]) -> None:
        """This process committed changes to these runs."""
        ...

    async def aclose(self) -> None: ...


class DataVersionHints:
    """SQLite: `PRAGMA data_version` changes when another connection has committed.

    It is asked every 10 ms, on a connection of its own that is never inside a transaction (inside one it would not
    change), and only while somebody waits. It reads four bytes of shared memory, so it is done in the event loop: a visit
    to a thread would cost ten times as much. Others see our commits the same way, so there is nothing to tell.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, hint: Hint) -> None:
        if self._connection is None:
            self._connection = connect(self._path)
            self._connection.execute("PRAGMA busy_timeout=0")
        known = _data_version(self._connection)
        self._task = asyncio.create_task(
            self._poll(self._connection, known, hint), name="store data_version"
        )

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def tell(self, keys: frozenset[int]) -> None:
        pass

    def glance(self, keys: Collection[int]) -> list[tuple[int, int, str]] | None:
        """How a few runs stand, read where the counter is: a tenth of what a visit to a thread costs. None: not so."""
        if self._connection is None or len(keys) > _GLANCE:
            return None
        try:
            return self._connection.execute(SIGHTS, {"keys": str(list(keys))}).fetchall()
        except sqlite3.OperationalError:  # busy just now
            return None

    async def aclose(self) -> None:
        self.stop()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _poll(self, connection: sqlite3.Connection, known: int | None, hint: Hint) -> None:
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            version = _data_version(connection)
            if version is None or version != known:
                known = version
                hint(None)


def _data_version(connection: sqlite3.Connection) -> int | None:
    """The counter, or None where it cannot be read just now."""
    try:
        (version,) = connection.execute("PRAGMA data_version").fetchone()
    except sqlite3.OperationalError:
        return None
    return int(version)


class NotifyHints:
    """PostgreSQL: NOTIFY after each commit, batched; one direct connection that LISTENs.

    A payload is `sender:key,key,…`; a process does not listen to itself. The connection is opened when somebody waits for
    the first time and kept; when it is lost it is opened again with growing pauses, and then everybody looks.
    """

    def __init__(self, engine: AsyncEngine, listen_url: str) -> None:
        self._engine = engine
        self._url = listen_url
        self._name = secrets.token_hex(4)
        self._hint: Hint | None = None
        self._listener: asyncio.Task[None] | None = None
        self._untold: set[int] = set()
        self._teller: asyncio.Task[None] | None = None
        self._complained = False
        self.listening = asyncio.Event()

    def start(self, hint: Hint) -> None:
        self._hint = hint
        if self._listener is None:
            self._listener = asyncio.create_task(self._keep_listening(), name="store LISTEN")

    def stop(self) -> None:
        self._hint = None

    def tell(self, keys: frozenset[int]) -> None:
        self._untold |= keys
        if self._teller is None or self._teller.done():
            self._teller = asyncio.create_task(self._tell_all(), name="store NOTIFY")

    async def aclose(self) -> None:
        """Say what is still to be said, and hang up."""
        self.stop()
        if self._teller is not None:
            await asyncio.wait([self._teller], timeout=_FAREWELL_SECONDS)
        for task in (self._teller, self._listener):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    # -- telling -----------------------------------------------------------------------------------

    async def _tell_all(self) -> None:
        """The first commit is told at once; those that follow within 5 ms share a message."""
        while self._untold:
            keys, self._untold = sorted(self._untold), set[int]()
            try:
                await self._notify(keys)
            except (SQLAlchemyError, OSError) as error:
                _log.warning("others learn of changes a second late", error=str(error))
            await asyncio.sleep(_NOTIFY_PAUSE_SECONDS)

    async def _notify(self, keys: list[int]) -> None:
        payloads = [
            f"{self._name}:{','.join(map(str, keys[start : start + _KEYS_PER_NOTIFY]))}"
            for start in range(0, len(keys), _KEYS_PER_NOTIFY)
        ]
        statement = text("SELECT pg_notify(:channel, :payload)")
        async with self._engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            for payload in payloads:
                await connection.execute(statement, {"channel": CHANNEL, "payload": payload})

    # -- listening ---------------------------------------------------------------------------------

    async def _keep_listening(self) -> None:
        failures = 0
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError) as error:
                failures = 0 if self.listening.is_set() else failures + 1
                self._complain(error)
            self.listening.clear()
            await asyncio.sleep(_RECONNECT_SECONDS[min(failures, len(_RECONNECT_SECONDS) - 1)])

    async def _listen(self) -> None:
        connection = await psycopg.AsyncConnection.connect(
            make_conninfo(self._url, application_name="perdure listener", **LIVENESS),
            autocommit=True,
        )
        async with connection:
            await connection.execute(f"LISTEN {CHANNEL}".encode())
            self.listening.set()
            self._complained = False
            self._give(None)  # what was told while nobody listened is looked for now
            async for notification in connection.notifies():
                self._hear(notification.payload)

    def _hear(self, payload: str) -> None:
        sender, _, keys = payload.partition(":")
        if sender != self._name:
            self._give(int(key) for key in keys.split(",") if key.isdigit())

    def _give(self, keys: Iterable[int] | None) -> None:
        if self._hint is not None:
            self._hint(keys)

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            _log.warning(
                "no LISTEN connection: changes by other processes are seen within a second",
                error=str(error).strip(),
            )
