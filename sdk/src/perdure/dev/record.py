"""The record of a stack's processes, by which the next start ends leftovers, and nothing else."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from perdure.dev.identity import end_process, start_mark
from perdure.dev.state import write_private


class RecordedProcess(BaseModel):
    """A recorded process; `mark` distinguishes it from a later one with the same pid."""

    model_config = ConfigDict(frozen=True)

    name: str
    pid: int
    mark: str


_RECORDS = TypeAdapter(list[RecordedProcess])


class ProcessRecord:
    """The running processes, written to the file at every change."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._running: dict[int, RecordedProcess] = {}

    def add(self, name: str, pid: int) -> None:
        mark = start_mark(pid)
        if mark is not None:
            self._running[pid] = RecordedProcess(name=name, pid=pid, mark=mark)
            self._try_write()

    def remove(self, pid: int) -> None:
        if self._running.pop(pid, None) is not None:
            self._try_write()

    def end_leftovers(self) -> list[str]:
        """Kill the processes that an earlier supervisor left running; returns their names.

        Call it before the first `add`. Raises `TimeoutError` if one cannot be killed.
        """
        ended = [each.name for each in self._read() if end_process(each.pid, each.mark)]
        self._write()
        return ended

    def _read(self) -> list[RecordedProcess]:
        try:
            return _RECORDS.validate_json(self._file.read_bytes())
        except (OSError, ValidationError):
            return []

    def _try_write(self) -> None:
        # On a full disk, an unrecorded process is better than an unsupervised one.
        with suppress(OSError):
            self._write()

    def _write(self) -> None:
        entries = [each.model_dump() for each in self._running.values()]
        write_private(self._file, json.dumps(entries, indent=1) + "\n")
