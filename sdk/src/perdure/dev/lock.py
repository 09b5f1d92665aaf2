"""One stack per state folder."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import IO

from pydantic import BaseModel, ConfigDict, ValidationError

from perdure.dev.errors import StackError
from perdure.dev.state import StateFolder
from perdure.file_lock import try_lock


class Holder(BaseModel):
    """The process that runs the stack in a folder. `url` is None until its port is known."""

    model_config = ConfigDict(frozen=True)

    pid: int
    url: str | None = None


class FolderLock:
    """The lock on a state folder. The kernel releases it when the process ends, however it ends."""

    def __init__(self, handle: IO[str]) -> None:
        self._handle = handle

    def announce(self, url: str | None) -> None:
        """Write this process's id and address into the lock file, for the error of another start."""
        self._handle.seek(0)
        self._handle.truncate()
        json.dump(Holder(pid=os.getpid(), url=url).model_dump(), self._handle)
        self._handle.flush()


@contextmanager
def locked(state: StateFolder) -> Generator[FolderLock]:
    """Lock the folder inside the block. Raises `StackError` naming the process that holds it."""
    with state.lock_file.open("a+") as handle:
        if not try_lock(handle.fileno()):
            raise StackError(_already_running(state, holder(state)))
        lock = FolderLock(handle)
        lock.announce(None)
        yield lock


def holder(state: StateFolder) -> Holder | None:
    """The process that last held the lock."""
    try:
        return Holder.model_validate_json(state.lock_file.read_bytes())
    except (OSError, ValidationError):
        return None


def _already_running(state: StateFolder, by: Holder | None) -> str:
    who = f"process {by.pid}" if by else "another process"
    where = f" at {by.url}" if by and by.url else ""
    stop = f"stop it with `kill {by.pid}`" if by else "stop that process"
    return (
        f"A stack already runs in {state.path} ({who}{where}): use it, or {stop}, or give another"
        " folder with --state-dir."
    )
