"""A lock between processes of one machine: a file nobody reads, held with `flock`.

The kernel gives it back when its holder dies, however it dies. The lock belongs to the open file, so two
holders inside one process exclude each other as well.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

_RETRY_SECONDS = 0.02


class FileLock:
    """An exclusive lock on `path`, which is created if missing and left behind on purpose.

    Removing the file would let two processes hold "the" lock: one the old file, one the new.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    @property
    def held(self) -> bool:
        return self._file is not None

    def try_acquire(self) -> bool:
        """Take the lock if it is free; true when this object holds it afterwards. Never waits."""
        if self._file is not None:
            return True
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        except BaseException:
            os.close(file)
            raise
        self._file = file
        return True

    def release(self) -> None:
        """Give the lock back. Harmless when it is not held."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @asynccontextmanager
    async def hold(self) -> AsyncGenerator[None]:
        """Hold the lock inside the block; waits for it as long as it takes, and can be cancelled."""
        while not self.try_acquire():  # noqa: ASYNC110 - another process cannot set our events
            await asyncio.sleep(_RETRY_SECONDS)
        try:
            yield
        finally:
            self.release()
