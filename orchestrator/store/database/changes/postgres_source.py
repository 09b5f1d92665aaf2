"""PostgreSQL: NOTIFY after each commit, LISTEN while a task waits. Only processes on PostgreSQL import this."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Iterable, Iterator

import psycopg
from psycopg.conninfo import make_conninfo

from orchestrator.store.database.changes.sqlite_source import Notify
from orchestrator.store.database.changes.udp_notifier import read_keys
from orchestrator.store.database.drivers.postgres import KEEPALIVE_OPTIONS

CHANNEL = "perdure_runs"
_BATCH_SECONDS = 0.005
_STILL_RUNNING_DELAY_SECONDS = 0.001
"""Delay before notifying that a run is still running: the writer first responds to its caller, and no waiter waits for this."""
_KEYS_PER_NOTIFY = 350  # a payload may have 7,999 bytes, a key 19 digits and a sign
_RECONNECT_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_FLUSH_SECONDS = 5
_NOTIFY = "SELECT pg_notify(%(channel)s, payload) FROM unnest(%(payloads)s::text[]) AS payload"

_log = logging.getLogger(__name__)


class PostgresChangeSource:
    """PostgreSQL: NOTIFY after each commit, batched, on one direct connection; LISTEN on another.

    A payload is `sender:key,-key,…`, negative where the run is still running; a process ignores its own. Each connection is
    opened at first need and reused. A lost listening connection is reopened with growing pauses; then all awaited runs are
    read.
    """

    def __init__(self, direct_url: str) -> None:
        self._url = direct_url
        self._name = secrets.token_hex(4)
        self._notify: Notify | None = None
        self._listener: asyncio.Task[None] | None = None
        self._connection = _NotifyConnection(direct_url)
        self._pending: set[int] = set()
        self._sender: asyncio.Task[None] | None = None
        self._warned = self._failing = False
        self.listening = asyncio.Event()

    def start(self, notify: Notify) -> None:
        self._notify = notify
        if self._listener is None:
            self._listener = asyncio.create_task(self._keep_listening(), name="store LISTEN")

    def stop(self) -> None:
        self._notify = None

    def publish(self, keys: frozenset[int]) -> None:
        self._pending |= keys
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_pending(), name="store NOTIFY")

    async def aclose(self) -> None:
        """Send what is pending, and close the connections."""
        self.stop()
        if self._sender is not None:
            await asyncio.wait([self._sender], timeout=_FLUSH_SECONDS)
        for task in (self._sender, self._listener):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        await self._connection.aclose()

    # -- sending -----------------------------------------------------------------------------------

    async def _send_pending(self) -> None:
        """The first commit is sent almost at once; those that follow within 5 ms share a message."""
        if all(key < 0 for key in self._pending):
            await asyncio.sleep(_STILL_RUNNING_DELAY_SECONDS)
        while self._pending:
            keys, self._pending = sorted(self._pending), set[int]()
            try:
                await self._connection.notify(list(self._payloads(keys)))
            except (psycopg.Error, OSError) as error:
                if not self._failing:
                    _log.warning(
                        "others learn of changes a second late",
                        extra={"error": str(error).strip()},
                    )
                self._failing = True
            else:
                self._failing = False
            await asyncio.sleep(_BATCH_SECONDS)

    def _payloads(self, keys: list[int]) -> Iterator[str]:
        for start in range(0, len(keys), _KEYS_PER_NOTIFY):
            yield f"{self._name}:{','.join(map(str, keys[start : start + _KEYS_PER_NOTIFY]))}"

    # -- receiving ---------------------------------------------------------------------------------

    async def _keep_listening(self) -> None:
        failures = 0
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError) as error:
                failures = 0 if self.listening.is_set() else failures + 1
                self._warn_once(error)
            self.listening.clear()
            await asyncio.sleep(_RECONNECT_SECONDS[min(failures, len(_RECONNECT_SECONDS) - 1)])

    async def _listen(self) -> None:
        async with await _connect(self._url, "perdure listener") as connection:
            await connection.execute(f"LISTEN {CHANNEL}".encode())
            self.listening.set()
            self._warned = False
            self._deliver(None)  # read what was sent while no connection listened
            async for notification in connection.notifies():
                self._on_notification(notification.payload)

    def _on_notification(self, payload: str) -> None:
        sender, _, keys = payload.partition(":")
        if sender != self._name:
            self._deliver(read_keys(keys.encode()))

    def _deliver(self, keys: Iterable[int] | None) -> None:
        if self._notify is not None:
            self._notify(keys)

    def _warn_once(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "no LISTEN connection: changes by other processes are seen within a second",
                extra={"error": str(error).strip()},
            )


class _NotifyConnection:
    """One direct connection that only sends. Opened when there is something to send, and reopened after it was lost.

    The pool would lend a connection that others wait for, and change its isolation level twice. PostgreSQL does not wait for
    the disk for a transaction that only notifies.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.AsyncConnection | None = None

    async def notify(self, payloads: list[str]) -> None:
        """Send these messages. Raises `psycopg.Error` or `OSError` when they could not be sent."""
        was_open = self._connection is not None
        try:
            await self._send(payloads)
        except psycopg.OperationalError:
            if not was_open:
                raise
            await self._send(payloads)  # the server had closed the connection meanwhile

    async def aclose(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()

    async def _send(self, payloads: list[str]) -> None:
        if self._connection is None:
            self._connection = await _connect(self._url, "perdure notifier")
        try:
            await self._connection.execute(_NOTIFY, {"channel": CHANNEL, "payloads": payloads})
        except BaseException:
            await self.aclose()
            raise


async def _connect(url: str, name: str) -> psycopg.AsyncConnection:
    return await psycopg.AsyncConnection.connect(
        make_conninfo(url, application_name=name, **KEEPALIVE_OPTIONS),
        autocommit=True,
        prepare_threshold=None,  # a pooler may be in between all the same
    )
