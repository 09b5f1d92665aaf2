"""Moves SQLite's write-ahead log into the database file. One process does it for all.

SQLite before 3.51.3 can corrupt a log that two processes checkpoint at once, and distributions ship older versions. So no
connection checkpoints by itself. Every process tries once a second to acquire the lock `<database>-checkpoint.lock`; its
holder does the work. When the holder dies, the kernel releases the lock and another process takes over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from pathlib import Path
from typing import Literal

from orchestrator.runtime.file_lock import FileLock
from orchestrator.store.database.drivers.sqlite_connection import connect, is_busy

CHECKPOINT_BYTES = 4 * 1024 * 1024
"""A larger log is moved into the database, without blocking other connections."""
TRUNCATE_BYTES = 64 * 1024 * 1024
"""A larger log is moved and truncated, which blocks writers for a moment."""
_PERIOD_SECONDS = 1.0
_TRUNCATE_TIMEOUT_MS = 500

_log = logging.getLogger(__name__)


class Checkpointer:
    """Tries to become leader once a second; as leader it keeps the log short."""

    def __init__(
        self, path: Path, *, period: float = _PERIOD_SECONDS, limit: int = CHECKPOINT_BYTES
    ) -> None:
        self.is_leader = asyncio.Event()
        self._path = path
        self._wal = Path(f"{path}-wal")
        self._lock = FileLock(Path(f"{path}-checkpoint.lock"))
        self._period = period
        self._limit = limit
        self._checkpointed_state: tuple[int, int] | None = None
        self._task = asyncio.create_task(self._watch(), name="store checkpoints")

    async def aclose(self) -> None:
        """Stop, and release the lock for another process."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._lock.release()
        self.is_leader.clear()

    async def _watch(self) -> None:
        while True:
            if self._lock.try_acquire():
                self.is_leader.set()
                await self._checkpoint_if_needed()
            await asyncio.sleep(self._period)

    async def _checkpoint_if_needed(self) -> None:
        state = self._wal_state()
        if state[0] <= self._limit or state == self._checkpointed_state:
            return
        mode: Literal["PASSIVE", "TRUNCATE"] = (
            "TRUNCATE" if state[0] > TRUNCATE_BYTES else "PASSIVE"
        )
        # The lock must not be released during a checkpoint: hence the shield.
        work = asyncio.create_task(asyncio.to_thread(checkpoint, self._path, mode))
        try:
            complete = await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([work])
            raise
        except sqlite3.Error as error:
            _log.warning("the write-ahead log could not be moved", extra={"error": str(error)})
        else:
            self._checkpointed_state = state if complete else None

    def _wal_state(self) -> tuple[int, int]:
        """Size and modification time of the log; the file is absent until the first write."""
        try:
            stat = self._wal.stat()
        except FileNotFoundError:
            return 0, 0
        return stat.st_size, stat.st_mtime_ns


def checkpoint(path: Path, mode: Literal["PASSIVE", "TRUNCATE"]) -> bool:
    """Move the log into the database; true if all of it was moved. Blocks: run it in a thread.

    TRUNCATE waits up to half a second for readers and writers. Raises `sqlite3.Error` when the disk fails.
    """
    raw = connect(path)
    try:
        raw.execute(f"PRAGMA busy_timeout={_TRUNCATE_TIMEOUT_MS}")
        blocked, pages, moved = raw.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    except sqlite3.OperationalError as error:
        if is_busy(error):
            return False
        raise
    else:
        return not blocked and pages == moved
    finally:
        raw.close()
