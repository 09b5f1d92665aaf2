"""SQLite: who has committed rings at those that wait, so that they need not ask again and again.

A ring is a datagram over the loopback with the keys of the runs that changed, negative where the run goes on. A process that waits hangs up a bell: a
port of its own, entered as a file in the folder `<database>-bells`. The file is held by a lock, which the kernel frees
when the process ends; so a dead one's entry is recognised, and removed by the next to look.

Nothing rests on a ring. It says where to look, may get lost, and may come from anybody: what is not a list of numbers is
not heard, and what is one only causes a look.
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
"""Rings that are heard before others in the process have their turn."""
_ENTRY = re.compile(r"([0-9]{1,5})-[0-9a-f]{16}")
_KEYS = re.compile(rb"-?[0-9]{1,19}(?:,-?[0-9]{1,19})*")
_MTIME_RESOLUTION_MS = 100
"""File systems note the time of a change less finely than changes follow each other."""
_PORTS_CACHE_SECONDS = 5.0
"""A dead process's entry is noticed this much later, if nobody comes or goes meanwhile."""


def listener_folder(database: Path) -> Path:
    """Where the bells of those are entered who wait for changes of this database."""
    return Path(f"{database}-bells")


def read_keys(payload: bytes) -> frozenset[int]:
    """The keys of runs in a ring or a notification, `1,-2,3`; none in anything else."""
    if _KEYS.fullmatch(payload) is None:
        return frozenset()
    return frozenset(int(key) for key in payload.split(b","))


class UdpListener:
    """What this process hears. Belongs to the event loop it was hung up in."""

    def __init__(self, folder: Path, on_keys: Callable[[frozenset[int]], None]) -> None:
        self.port = 0
        """0: it does not hang."""
        self._folder = folder
        self._on_keys = on_keys
        self._receive_socket: socket.socket | None = None
        self._entry: LockedFile | None = None

    def start(self) -> None:
        """Hear from now on.

        Raises `OSError` where there is no loopback or nothing can be written beside the database, and
        `NotImplementedError` where the event loop cannot wait for sockets (Windows).
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
        """Hear no more. Harmless when it does not hang."""
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
            except OSError:  # nothing more to hear at this moment
                break
        if keys:
            self._on_keys(frozenset(keys))


class UdpNotifier:
    """Rings at everybody's bells but one's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._send_socket: socket.socket | None = None
        self._ports: frozenset[int] = frozenset()
        self._folder_changed_at: int | None = None
        self._ports_expire_at = 0.0

    def send(self, keys: Collection[int], *, own: int = 0) -> None:
        """Tell everybody but the port `own` that these runs have changed, as far as they can be told. Never waits."""
        ports = self._listening_ports() - {own}
        if ports and self._open_socket():
            for message in _datagrams(keys):
                for port in ports:
                    self._send_datagram(message, port)

    def close(self) -> None:
        """Ring no more, for now."""
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
        with contextlib.suppress(OSError):  # nobody is there any more, or does not get to hear it
            self._send_socket.sendto(message, (_HOST, port))

    def _listening_ports(self) -> frozenset[int]:
        """The ports of the bells that hang, read again when the folder has changed."""
        try:
            changed = self._folder.stat().st_mtime_ns
        except OSError:  # nobody has ever waited
            return frozenset()
        now = time.monotonic()
        if changed != self._folder_changed_at or now > self._ports_expire_at:
            age_ms = abs(now_ms() - changed // 1_000_000)
            self._folder_changed_at = changed if age_ms > _MTIME_RESOLUTION_MS else None
            self._ports_expire_at = now + _PORTS_CACHE_SECONDS
            self._ports = _live_ports(self._folder)
        return self._ports


def _live_ports(folder: Path) -> frozenset[int]:
    """The ports of living processes; dead ones' entries are removed."""
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
