"""The in-flight journal: a file that lists the activities a process works on, for recovery after a crash.

Each process has its own file under an exclusive lock. The file begins with the process's unique Temporal identity, so
that tasks in transit to it can be found too. The kernel releases the lock exactly when the process ends: a file whose
lock is free belongs to a dead process, and a suspended process keeps its lock. Nothing is flushed to disk: the data
must survive the process, not the machine.
See docs/internals/decisions/0008-detect-dead-processes-by-file-locks.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import logging
import os
import platform
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple, cast

from orchestrator.runtime import file_lock
from orchestrator.runtime.file_lock import LockedFile
from orchestrator.runtime.ids import new_id
from orchestrator.settings import Settings
from orchestrator.workflows.interface import CallRef, RunRef

_log = logging.getLogger(__name__)

_SLOT = 2_048
"""Bytes per task; a larger task is not recorded and is recovered by its heartbeat timeout."""
_DELETE_AFTER_SECONDS = 32
"""A slot is reused only after at least this many others: an ended activity stays recorded until the server knows of
its end. A stale record is harmless, because the server no longer knows an ended activity."""
_SUFFIX = ".tasks"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Machine(NamedTuple):
    """A function worker, by its cluster and its own id."""

    cluster_id: str
    machine_id: str


@dataclass(frozen=True, slots=True)
class InFlightTask:
    """An activity that a process works on, or a call that it has not handed to a machine yet."""

    token: bytes
    attempt: int = 1
    call: CallRef | None = None


def worker_identity() -> str:
    """Return a globally unique process identity that is never reused."""
    return f"{platform.node() or 'host'}-{os.getpid()}-{token_hex(4)}"


def journal_scope(settings: Settings) -> str:
    """Names this kernel and this Temporal namespace: only within them is a free lock, or a token, of any meaning."""
    try:
        kernel = _BOOT_ID.read_text().strip()
    except OSError:  # not Linux
        kernel = platform.node()
    names = (kernel, settings.temporal_address, settings.temporal_namespace)
    return hashlib.sha256("\0".join(names).encode()).hexdigest()[:16]


class InFlightJournal:
    """This process's own file; made with the first task, and removed by `close`. Without a folder it keeps nothing."""

    def __init__(self, folder: Path | None, scope: str) -> None:
        self.process = worker_identity()
        """What this process is to call itself to Temporal."""
        self.machine: Machine | None = None
        """The machine that it is for a cluster whose functions it hosts; to be said before the first task."""
        self._folder = folder
        self._scope = scope
        self._file: LockedFile | None = None
        self._slots = 1  # the first is the process's name
        self._free: deque[int] = deque()

    @classmethod
    def from_settings(cls, settings: Settings) -> InFlightJournal:
        """Where the settings want it."""
        return cls(settings.task_folder, journal_scope(settings))

    @contextmanager
    def record(self, task: InFlightTask) -> Generator[None]:
        """The process works on that task while the body runs. What keeps it from being written down is only logged."""
        slot = self._write(task)
        try:
            yield
        finally:
            if slot is not None:
                self._free.append(slot)

    def close(self) -> None:
        """The process ends as it should: nothing of it is lost."""
        file, self._file, self._folder = self._file, None, None
        if file is not None:
            file.remove()

    def _write(self, task: InFlightTask) -> int | None:
        line = _line(task)
        if self._folder is None or len(line) > _SLOT:
            return None
        try:
            if self._file is None:
                self._file = _create(self._folder, self._scope)
                header = {"process": self.process, "machine": self.machine}
                _put(self._file, 0, json.dumps(header).encode())
            slot = self._take_slot()
            _put(self._file, slot, line)
        except OSError as error:
            _log.warning("what this process works on cannot be written down: %s", error)
            return None
        return slot

    def _take_slot(self) -> int:
        if len(self._free) > _DELETE_AFTER_SECONDS:
            return self._free.popleft()
        self._slots += 1
        return self._slots - 1


class OrphanedJournal:
    """The file of a process that is dead, claimed by this one."""

    def __init__(self, path: Path, content: bytes) -> None:
        self._path = path
        self.process, self.machine = _header(content)
        """What it called itself to Temporal, and the machine that it was; None where that cannot be read."""
        self.tasks = list(_tasks(content))

    def remove(self) -> None:
        """All of it was seen to."""
        self._path.unlink(missing_ok=True)


def journals(folder: Path, scope: str) -> list[Path]:
    """The files of this scope, of the living and the dead."""
    return list(folder.glob(f"{scope}-*{_SUFFIX}"))


def remove_old(folder: Path, before: float) -> None:
    """Remove files of dead processes without a write since that time (s): of another boot, or another Temporal."""
    for path in folder.glob(f"*{_SUFFIX}"):
        with suppress(FileNotFoundError), claim(path) as dead:
            if dead is not None and path.stat().st_mtime < before:
                dead.remove()


@contextmanager
def claim(path: Path) -> Generator[OrphanedJournal | None]:
    """The file of a dead process, claimed inside the block; None if it lives, or another process has claimed it."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(file_lock.claim(path))
        except (
            FileNotFoundError
        ):  # its process ended normally, or another process recovered its tasks
            file = None
        yield None if file is None else _orphaned(path, file)


def _orphaned(path: Path, file: int) -> OrphanedJournal:
    with open(file, "rb", closefd=False) as reader:
        return OrphanedJournal(path, reader.read())


def _create(folder: Path, scope: str) -> LockedFile:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return LockedFile.create(folder, f"{scope}-{new_id()}", _SUFFIX)


def _put(file: LockedFile, slot: int, line: bytes) -> None:
    os.pwrite(file.descriptor, line.ljust(_SLOT - 1) + b"\n", slot * _SLOT)


def _line(task: InFlightTask) -> bytes:
    written: dict[str, object] = {
        "token": base64.b64encode(task.token).decode(),
        "attempt": task.attempt,
    }
    if task.call is not None:
        run = task.call.run
        written["call"] = [run.cluster_id, run.run_id, task.call.call_id]
    return json.dumps(written).encode()


def _header(content: bytes) -> tuple[str | None, Machine | None]:
    with suppress(ValueError, KeyError, TypeError):
        header = json.loads(content[:_SLOT])
        machine = header["machine"]
        return str(header["process"]), None if machine is None else Machine(*machine)
    return None, None


def _tasks(content: bytes) -> Iterator[InFlightTask]:
    for line in content.splitlines():
        with suppress(ValueError, KeyError, TypeError, binascii.Error):  # torn: it was not begun
            yield _task(json.loads(line))


def _task(written: dict[str, object]) -> InFlightTask:
    token = base64.b64decode(cast("str", written["token"]))
    call = cast("list[str] | None", written.get("call"))
    if call is None:
        return InFlightTask(token, cast("int", written["attempt"]))
    cluster_id, run_id, call_id = call
    return InFlightTask(token, call=CallRef(RunRef(cluster_id, run_id), call_id))
