"""How a process on SQLite is notified that a run may have changed, and how it notifies the others.

A hint carries no data: it only triggers a read. It may come twice, too early, or not at all (the feed reads once a
second anyway).
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
"""Versions and statuses of runs, on SQLite."""
_FALLBACK_SECONDS = 0.1
_POLL_SECONDS = 0.01
_MAX_INLINE_RUNS = 16
"""Runs that are read in the event loop; more are read in a thread."""

_log = logging.getLogger(__name__)

Notify = Callable[["Iterable[int] | None"], None]
"""Receives the keys of the runs to read, negative where the run is still running; None means every awaited run."""


class ChangeSource(Protocol):
    """Notifications of other processes' commits."""

    def start(self, notify: Notify) -> None:
        """There is a waiter: report hints from now on."""
        ...

    def stop(self) -> None:
        """There is no waiter any more."""
        ...

    def publish(self, keys: frozenset[int]) -> None:
        """This process committed changes to these runs."""
        ...

    async def aclose(self) -> None: ...


class SqliteChangeSource:
    """SQLite: processes notify each other over UDP (see `udp_notifier.py`); `PRAGMA data_version` finds what got lost.

    The counter changes when another connection has committed, one of this process included. It is polled ten times a second,
    only while there is a waiter, on a connection of its own that is never inside a transaction (there it would not change).
    When it has changed, all awaited runs are read. So a lost datagram, or one from another network namespace, costs a tenth
    of a second. Where no listener can be started, it is polled every 10 ms. It reads four bytes of shared memory, so the
    event loop does it: a thread hop would cost ten times as much.
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
        """Versions of a few runs, read on the counter's connection: a tenth of the cost of a thread hop. None: not possible."""
        if self._connection is None or len(keys) > _MAX_INLINE_RUNS:
            return None
        try:
            return self._connection.execute(RUN_VERSIONS_SQL, {"keys": str(list(keys))}).fetchall()
        except sqlite3.OperationalError:  # busy
            return None

    async def aclose(self) -> None:
        self.stop()
        self._listener.stop()
        self._notifier.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _start_listener(self) -> None:
        """Start once and never stop: starting for each waiter would cost more than receiving datagrams without one."""
        try:
            self._listener.start()
        except (OSError, NotImplementedError) as error:
            _log.warning(
                "cannot listen on a UDP port; polling the database instead",
                extra={"error": str(error)},
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
    """The counter, or None if it cannot be read now."""
    try:
        (version,) = connection.execute("PRAGMA data_version").fetchone()
    except sqlite3.OperationalError:
        return None
    return int(version)
