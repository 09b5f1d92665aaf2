"""Where a process learns that a run may have changed, and how it tells the others.

A hint is never the truth: it only says when to look. It may come twice, or too early, or not at all (the feed looks once
a second anyway).
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Protocol

from orchestrator.store.database.changes.udp_notifier import (
    UdpListener,
    UdpNotifier,
    listener_folder,
)
from orchestrator.store.database.drivers.sqlite_connection import connect

RUN_VERSIONS_SQL = (
    "SELECT key, version, status FROM runs WHERE key IN (SELECT value FROM json_each(:keys))"
)
"""How runs stand, on SQLite."""
_FALLBACK_SECONDS = 0.1
_POLL_SECONDS = 0.01
_MAX_INLINE_RUNS = 16
"""Runs that are looked at in the event loop; more are looked at in a thread."""

_log = logging.getLogger(__name__)

Notify = Callable[["Iterable[int] | None"], None]
"""Takes the keys of the runs to look at, negative where the run goes on; None means every run that is waited for."""


class ChangeSource(Protocol):
    """Other processes' commits, as far as this one hears of them."""

    def start(self, notify: Notify) -> None:
        """Somebody waits: hint from now on."""
        ...

    def stop(self) -> None:
        """Nobody waits any more."""
        ...

    def publish(self, keys: frozenset[int]) -> None:
        """This process committed changes to these runs."""
        ...

    async def aclose(self) -> None: ...


class SqliteChangeSource:
    """SQLite: processes ring at each other's bells (see `bells.py`), and `PRAGMA data_version` tells of what was not rung.

    The counter changes when another connection has committed, ours included. It is asked ten times a second, on a
    connection of its own that is never inside a transaction (inside one it would not change), and only while somebody
    waits; where it has changed, all runs that are waited for are looked at. So a ring that was lost, or cannot be heard
    in another network namespace, costs a tenth of a second. Where no bell can be hung up it is asked every 10 ms. It reads
    four bytes of shared memory, so it is done in the event loop: a visit to a thread would cost ten times as much.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._listener = UdpListener(listener_folder(path), self._on_datagram)
        self._notifier = UdpNotifier(listener_folder(path))
        self._notify: Notify | None = None

    def start(self, notify: Notify) -> None:
        self._notify = notify
        if self._connection is None:
            self._connection = connect(self._path)
            self._connection.execute("PRAGMA busy_timeout=0")
            self._start_listener()
        known = _data_version(self._connection)
        self._task = asyncio.create_task(
            self._poll(self._connection, known, notify), name="store data_version"
        )

    def stop(self) -> None:
        self._notify = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def publish(self, keys: frozenset[int]) -> None:
        self._notifier.send(keys, own=self._listener.port)

    def read_versions(self, keys: Collection[int]) -> list[tuple[int, int, str]] | None:
        """How a few runs stand, read where the counter is: a tenth of what a visit to a thread costs. None: not so."""
        if self._connection is None or len(keys) > _MAX_INLINE_RUNS:
            return None
        try:
            return self._connection.execute(RUN_VERSIONS_SQL, {"keys": str(list(keys))}).fetchall()
        except sqlite3.OperationalError:  # busy just now
            return None

    async def aclose(self) -> None:
        self.stop()
        self._listener.stop()
        self._notifier.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _start_listener(self) -> None:
        """Once, and for good: to come and go with each waiter would cost more than to hear what nobody waits for."""
        try:
            self._listener.start()
        except (OSError, NotImplementedError) as error:
            _log.warning(
                "no bell can be hung up: the database is asked instead", extra={"error": str(error)}
            )

    def _on_datagram(self, keys: frozenset[int]) -> None:
        if self._notify is not None:
            self._notify(keys)

    async def _poll(
        self, connection: sqlite3.Connection, known: int | None, notify: Notify
    ) -> None:
        pause = _FALLBACK_SECONDS if self._listener.port else _POLL_SECONDS
        while True:
            await asyncio.sleep(pause)
            version = _data_version(connection)
            if version is None or version != known:
                known = version
                notify(None)


def _data_version(connection: sqlite3.Connection) -> int | None:
    """The counter, or None where it cannot be read just now."""
    try:
        (version,) = connection.execute("PRAGMA data_version").fetchone()
    except sqlite3.OperationalError:
        return None
    return int(version)
