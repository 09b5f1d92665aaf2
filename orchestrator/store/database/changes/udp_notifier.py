"""SQLite: after each commit the writer notifies the waiting processes over UDP, so that they need not poll.

A notification is a datagram over the loopback with the keys of the changed runs, negative where the run is still
running. A waiting process listens on a port of its own, registered as a file in the folder `<database>-bells`. It holds
the file's lock, which the kernel releases when the process ends. So the entry of a dead process is recognised, and the
next process that reads the folder removes it.

Correctness never depends on a notification: it only triggers a read. It may get lost, and any process may send one. A
datagram that is not a list of numbers is ignored.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import socket
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from orchestrator.runtime.clock import now_ms
from orchestrator.runtime.file_lock import LockedFile, claim

_HOST = "127.0.0.1"
_KEYS_PER_DATAGRAM = 380
"""A key has at most 19 digits and a sign, and some systems send no datagram of more than 9,216 bytes."""
_MAX_DATAGRAM_BYTES = 8_192
_MAX_DATAGRAMS_PER_TURN = 100
"""Datagrams that are read before other tasks of the process run."""
_ENTRY = re.compile(r"([0-9]{1,5})-[0-9a-f]{16}")
_KEYS = re.compile(rb"-?[0-9]{1,19}(?:,-?[0-9]{1,19})*")
_MTIME_RESOLUTION_MS = 100
"""The resolution of a file system's modification times is coarser than the time between two changes."""
_PORTS_CACHE_SECONDS = 5.0
"""A dead process's entry is noticed this much later, if no process starts or stops listening meanwhile."""


def listener_folder(database: Path) -> Path:
    """The folder in which processes that wait for changes of this database register their ports."""
    return Path(f"{database}-bells")


def read_keys(payload: bytes) -> frozenset[int]:
    """The keys of runs in a notification, `1,-2,3`; empty for any other payload."""
    if _KEYS.fullmatch(payload) is None:
        return frozenset()
    return frozenset(int(key) for key in payload.split(b","))


class UdpListener:
    """Receives the notifications for this process. Belongs to the event loop that it was started in."""

    def __init__(self, folder: Path, on_keys: Callable[[frozenset[int]], None]) -> None:
        self.port = 0
        """0: it is not running."""
        self._folder = folder
        self._on_keys = on_keys
        self._receive_socket: socket.socket | None = None
        self._entry: LockedFile | None = None

    def start(self) -> None:
        """Start to listen.

        Raises `OSError` if there is no loopback or the folder beside the database cannot be written, and
        `NotImplementedError` if the event loop cannot wait for sockets (Windows).
        """
        receive_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            receive_socket.setblocking(False)
            receive_socket.bind((_HOST, 0))
            port = int(receive_socket.getsockname()[1])
            asyncio.get_running_loop().add_reader(receive_socket, self._receive, receive_socket)
            self._folder.mkdir(exist_ok=True)
            self._entry = LockedFile.create(self._folder, f"{port}-{secrets.token_hex(8)}")
        except BaseException:
            _close_socket(receive_socket)
            raise
        self._receive_socket, self.port = receive_socket, port

    def stop(self) -> None:
        """Stop listening. Does nothing if it is not running."""
        if self._entry is not None:
            with contextlib.suppress(OSError):
                self._entry.remove()
            self._entry = None
        if self._receive_socket is not None:
            _close_socket(self._receive_socket)
            self._receive_socket, self.port = None, 0

    def _receive(self, receive_socket: socket.socket) -> None:
        keys: set[int] = set()
        for _ in range(_MAX_DATAGRAMS_PER_TURN):
            try:
                keys |= read_keys(receive_socket.recv(_MAX_DATAGRAM_BYTES))
            except OSError:  # nothing more to read
                break
        if keys:
            self._on_keys(frozenset(keys))


class UdpNotifier:
    """Sends notifications to every listener but its own process's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._send_socket: socket.socket | None = None
        self._ports: frozenset[int] = frozenset()
        self._folder_changed_at: int | None = None
        self._ports_expire_at = 0.0

    def send(self, keys: Collection[int], *, own: int = 0) -> None:
        """Notify every listener but the one at port `own` that these runs have changed. Best effort; never waits."""
        ports = self._listening_ports() - {own}
        if ports and self._open_socket():
            for message in _datagrams(keys):
                for port in ports:
                    self._send_datagram(message, port)

    def close(self) -> None:
        """Close the socket. The next `send` opens it again."""
        if self._send_socket is not None:
            self._send_socket.close()
            self._send_socket = None

    def _open_socket(self) -> bool:
        if self._send_socket is None:
            with contextlib.suppress(OSError):
                self._send_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                self._send_socket.setblocking(False)
        return self._send_socket is not None

    def _send_datagram(self, message: bytes, port: int) -> None:
        assert self._send_socket is not None  # noqa: S101 - `send` opened it
        with contextlib.suppress(OSError):  # the listener is gone, or its buffer is full
            self._send_socket.sendto(message, (_HOST, port))

    def _listening_ports(self) -> frozenset[int]:
        """The ports of all listeners, read again when the folder has changed."""
        try:
            changed = self._folder.stat().st_mtime_ns
        except OSError:  # no process has ever listened
            return frozenset()
        now = time.monotonic()
        if changed != self._folder_changed_at or now > self._ports_expire_at:
            age_ms = abs(now_ms() - changed // 1_000_000)
            self._folder_changed_at = changed if age_ms > _MTIME_RESOLUTION_MS else None
            self._ports_expire_at = now + _PORTS_CACHE_SECONDS
            self._ports = _live_ports(self._folder)
        return self._ports


def _live_ports(folder: Path) -> frozenset[int]:
    """The ports of living processes; entries of dead ones are removed."""
    ports: set[int] = set()
    with contextlib.suppress(OSError):  # the folder is gone
        for path in folder.iterdir():
            entry = _ENTRY.fullmatch(path.name)
            if entry is not None and not _remove_if_dead(path):
                ports.add(int(entry[1]))
    return frozenset(port for port in ports if 0 < port < 2**16)


def _remove_if_dead(path: Path) -> bool:
    try:
        with claim(path) as file:
            if file is None:
                return False
            path.unlink(missing_ok=True)
    except FileNotFoundError:  # its process stopped listening
        return True
    except OSError:  # of another user: it may be alive
        return False
    return True


def _close_socket(receive_socket: socket.socket) -> None:
    with contextlib.suppress(NotImplementedError, RuntimeError):  # the loop is closed already
        asyncio.get_running_loop().remove_reader(receive_socket)
    receive_socket.close()


def _datagrams(keys: Collection[int]) -> Iterator[bytes]:
    ordered = sorted(keys)
    for start in range(0, len(ordered), _KEYS_PER_DATAGRAM):
        yield ",".join(map(str, ordered[start : start + _KEYS_PER_DATAGRAM])).encode()
