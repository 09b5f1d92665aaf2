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
    """Who runs the stack in a folder; the address is known once its port is."""

    model_config = ConfigDict(frozen=True)

    pid: int
    url: str | None = None


class FolderLock:
    """Held as long as the process lives; the kernel frees it whatever way that ends."""

    def __init__(self, handle: IO[str]) -> None:
        self._handle = handle

    def announce(self, url: str | None) -> None:
        """Tell whoever finds the folder locked who runs here, and where."""
        self._handle.seek(0)
        self._handle.truncate()
        json.dump(Holder(pid=os.getpid(), url=url).model_dump(), self._handle)
        self._handle.flush()


@contextmanager
def locked(state: StateFolder) -> Generator[FolderLock]:
    """Hold the folder. Raises `StackError` naming the process that holds it."""
    with state.lock_file.open("a+") as handle:
        if not try_lock(handle.fileno()):
            raise StackError(_already_running(state, holder(state)))
        lock = FolderLock(handle)
        lock.announce(None)
        yield lock


def holder(state: StateFolder) -> Holder | None:
    """Who wrote its name into the lock last."""
    try:
        return Holder.model_validate_json(state.lock_file.read_bytes())
    except (OSError, ValidationError):
        return None


def _already_running(state: StateFolder, by: Holder | None) -> str:
    who = f"process {by.pid}" if by else "another process"
    where = f" at {by.url}" if by and by.url else ""
    stop = f"stop it with `kill {by.pid}`" if by else "stop that one"
    return (
        f"A stack already runs in {state.path} ({who}{where}): use it, or {stop}, or give another"
        " folder with --state-dir."
    )
