"""Locks between processes of one machine: files locked with `flock`, which Windows does not have.

The kernel releases a lock when its process ends, however it ends; a suspended process keeps it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

if sys.platform != "win32":
    import fcntl

SUPPORTED = sys.platform != "win32"


def try_lock(descriptor: int) -> bool:
    """Lock an open file if no other process has locked it. False as well if the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class LockedFile(NamedTuple):
    """A file that shows that its process is alive: locked from its creation to `remove`, or to the process's end."""

    path: Path
    descriptor: int

    @classmethod
    def create(cls, folder: Path, name: str, suffix: str, content: bytes) -> LockedFile:
        """Create `<name><suffix>`. It is locked and complete before others can find it by its suffix. Raises `OSError`."""
        hidden, path = folder / f".{name}", folder / f"{name}{suffix}"
        descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(descriptor, content)
            hidden.rename(path)
        except OSError:
            os.close(descriptor)
            hidden.unlink(missing_ok=True)
            raise
        return cls(path, descriptor)

    def remove(self) -> None:
        """Remove the file, then release its lock."""
        try:
            self.path.unlink(missing_ok=True)
        finally:
            os.close(self.descriptor)


@contextmanager
def claim(path: Path) -> Generator[int | None]:
    """The descriptor of a dead process's file, locked inside the block and open for reading.

    None while its process is alive, while another process has claimed it, or if it is gone.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield descriptor if try_lock(descriptor) else None
    finally:
        os.close(descriptor)
