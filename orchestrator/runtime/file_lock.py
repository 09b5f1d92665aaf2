"""Locks between processes of one machine: files locked with `flock`.

The kernel releases a lock when its process ends, however it ends. The lock belongs to the open file, so two holders
inside one process exclude each other as well.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

_RETRY_SECONDS = 0.02


class FileLock:
    """An exclusive lock on `path`, which is created if missing and never removed.

    Removing the file would let two processes hold "the" lock: one the old file, one the new.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    @property
    def held(self) -> bool:
        return self._file is not None

    def try_acquire(self) -> bool:
        """Acquire the lock if it is free; true when this object holds it afterwards. Never waits. Raises `OSError`."""
        if self._file is not None:
            return True
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            acquired = _try_lock(file)
        except BaseException:
            os.close(file)
            raise
        if not acquired:
            os.close(file)
            return False
        self._file = file
        return True

    def release(self) -> None:
        """Release the lock. Does nothing when it is not held."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @asynccontextmanager
    async def hold(self) -> AsyncGenerator[None]:
        """Hold the lock inside the block. Waits for it without a limit; the wait can be cancelled."""
        while not self.try_acquire():  # noqa: ASYNC110 - another process cannot set our events
            await asyncio.sleep(_RETRY_SECONDS)
        try:
            yield
        finally:
            self.release()


class LockedFile:
    """A file that shows that its process is alive: locked from its creation to `remove`, or to the process's end."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    @classmethod
    def create(cls, folder: Path, name: str, suffix: str = "") -> LockedFile:
        """Create `<name><suffix>`. It is locked before other processes can find it under this name. Raises `OSError`."""
        hidden, path = folder / f".{name}", folder / f"{name}{suffix}"
        descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            hidden.rename(path)
        except OSError:
            os.close(descriptor)
            hidden.unlink(missing_ok=True)
            raise
        return cls(path, descriptor)

    def remove(self) -> None:
        """Remove the file, then release its lock. Raises `OSError`; the lock is released then too."""
        try:
            self.path.unlink(missing_ok=True)
        finally:
            os.close(self.descriptor)


@contextmanager
def claim(path: Path) -> Generator[int | None]:
    """The descriptor of a dead process's `LockedFile`, locked inside the block and open for reading.

    None while its process is alive, while another process has claimed it, or if the file system refuses to lock it.
    Raises `FileNotFoundError` where it was removed, and `OSError` where it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor if _can_lock(descriptor) else None
    finally:
        os.close(descriptor)


def _can_lock(descriptor: int) -> bool:
    try:
        return _try_lock(descriptor)
    except OSError:
        return False


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
