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
from orchestrator.store.database.drivers.file_lock import FileLock

_HOST = "127.0.0.1"
_KEYS_PER_RING = 380
"""A key has at most 19 digits and a sign, and some systems send no datagram of more than 9,216 bytes."""
_LONGEST_RING = 8_192
_HEARD_AT_ONCE = 100
"""Rings that are heard before others in the process have their turn."""
_ENTRY = re.compile(r"([0-9]{1,5})-[0-9a-f]{16}")
_KEYS = re.compile(rb"-?[0-9]{1,19}(?:,-?[0-9]{1,19})*")
_SAME_MOMENT_MS = 100
"""File systems note the time of a change less finely than changes follow each other."""
_LIVENESS_SECONDS = 5.0
"""A dead process's entry is noticed this much later, if nobody comes or goes meanwhile."""


def bell_folder(database: Path) -> Path:
    """Where the bells of those are entered who wait for changes of this database."""
    return Path(f"{database}-bells")


def read_keys(said: bytes) -> frozenset[int]:
    """The keys of runs in a ring or a notification, `1,-2,3`; none in anything else."""
    if _KEYS.fullmatch(said) is None:
        return frozenset()
    return frozenset(int(key) for key in said.split(b","))


class Bell:
    """What this process hears. Belongs to the event loop it was hung up in."""

    def __init__(self, folder: Path, heard: Callable[[frozenset[int]], None]) -> None:
        self.port = 0
        """0: it does not hang."""
        self._folder = folder
        self._heard = heard
        self._ear: socket.socket | None = None
        self._entry: _Entry | None = None

    def hang(self) -> None:
        """Hear from now on.

        Raises `OSError` where there is no loopback or nothing can be written beside the database, and
        `NotImplementedError` where the event loop cannot wait for sockets (Windows).
        """
        ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            ear.setblocking(False)
            ear.bind((_HOST, 0))
            port = int(ear.getsockname()[1])
            asyncio.get_running_loop().add_reader(ear, self._listen, ear)
            self._entry = _Entry.made(self._folder, port)
        except BaseException:
            _close_ear(ear)
            raise
        self._ear, self.port = ear, port

    def take_down(self) -> None:
        """Hear no more. Harmless when it does not hang."""
        if self._entry is not None:
            self._entry.remove()
            self._entry = None
        if self._ear is not None:
            _close_ear(self._ear)
            self._ear, self.port = None, 0

    def _listen(self, ear: socket.socket) -> None:
        keys: set[int] = set()
        for _ in range(_HEARD_AT_ONCE):
            try:
                keys |= read_keys(ear.recv(_LONGEST_RING))
            except OSError:  # nothing more to hear at this moment
                break
        if keys:
            self._heard(frozenset(keys))


class Ringer:
    """Rings at everybody's bells but one's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mouth: socket.socket | None = None
        self._ports: frozenset[int] = frozenset()
        self._as_of: int | None = None
        self._good_until = 0.0

    def ring(self, keys: Collection[int], *, own: int = 0) -> None:
        """Tell everybody but the port `own` that these runs have changed, as far as they can be told. Never waits."""
        ports = self._hung() - {own}
        if ports and self._opened():
            for message in _rings(keys):
                for port in ports:
                    self._send(message, port)

    def close(self) -> None:
        """Ring no more, for now."""
        if self._mouth is not None:
            self._mouth.close()
            self._mouth = None

    def _opened(self) -> bool:
        if self._mouth is None:
            with contextlib.suppress(OSError):
                self._mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                self._mouth.setblocking(False)
        return self._mouth is not None

    def _send(self, message: bytes, port: int) -> None:
        assert self._mouth is not None  # noqa: S101 - `ring` opened it
        with contextlib.suppress(OSError):  # nobody is there any more, or does not get to hear it
            self._mouth.sendto(message, (_HOST, port))

    def _hung(self) -> frozenset[int]:
        """The ports of the bells that hang, read again when the folder has changed."""
        try:
            changed = self._folder.stat().st_mtime_ns
        except OSError:  # nobody has ever waited
            return frozenset()
        now = time.monotonic()
        if changed != self._as_of or now > self._good_until:
            age_ms = abs(now_ms() - changed // 1_000_000)
            self._as_of = changed if age_ms > _SAME_MOMENT_MS else None
            self._good_until = now + _LIVENESS_SECONDS
            self._ports = _living(self._folder)
        return self._ports


class _Entry:
    """A bell's file, and the lock on it."""

    def __init__(self, path: Path, lock: FileLock) -> None:
        self._path = path
        self._lock = lock

    @classmethod
    def made(cls, folder: Path, port: int) -> _Entry:
        """A file that is locked before anybody can see it under its name. Raises `OSError`."""
        folder.mkdir(exist_ok=True)
        name = f"{port}-{secrets.token_hex(8)}"
        path, hidden = folder / name, folder / f".{name}"
        lock = FileLock(hidden)
        try:
            lock.try_acquire()
            hidden.rename(path)
        except OSError:
            lock.release()
            hidden.unlink(missing_ok=True)
            raise
        return cls(path, lock)

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        self._lock.release()


def _living(folder: Path) -> frozenset[int]:
    """The ports of living processes; dead ones' entries are removed."""
    ports: set[int] = set()
    with contextlib.suppress(OSError):  # the folder is gone
        for path in folder.iterdir():
            entry = _ENTRY.fullmatch(path.name)
            if entry is not None and not _removed_as_dead(path):
                ports.add(int(entry[1]))
    return frozenset(port for port in ports if 0 < port < 2**16)


def _removed_as_dead(path: Path) -> bool:
    lock = FileLock(path)
    try:
        if not lock.try_acquire():
            return False
        path.unlink(missing_ok=True)
    except OSError:  # of another user: who knows
        return False
    finally:
        lock.release()
    return True


def _close_ear(ear: socket.socket) -> None:
    with contextlib.suppress(NotImplementedError, RuntimeError):  # the loop is closed already
        asyncio.get_running_loop().remove_reader(ear)
    ear.close()


def _rings(keys: Collection[int]) -> Iterator[bytes]:
    listed = sorted(keys)
    for start in range(0, len(listed), _KEYS_PER_RING):
        yield ",".join(map(str, listed[start : start + _KEYS_PER_RING])).encode()
