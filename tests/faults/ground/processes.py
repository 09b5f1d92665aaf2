"""Processes that can be killed, frozen and started again, one by one."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from perdure.dev.child import bound_command
from tests.support.running_stack import REPOSITORY, until

READY_SECONDS = 60.0
"""How long a process may take to be ready on a machine that does other things too."""


@dataclass(slots=True)
class Process:
    """One process of a stack. `is_ready` is asked until it says so; what it writes goes to `log`, which grows over restarts."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    is_ready: Callable[[str], bool]
    """Given what this start has written to the log so far."""
    pids: list[int] = field(default_factory=list[int])
    """Of all its starts."""
    _running: subprocess.Popen[bytes] | None = None
    _log_begin: int = 0

    @property
    def pid(self) -> int:
        return self.pids[-1]

    async def start(self, **more: str) -> None:
        """Start it, with these variables on top, and wait until it is ready."""
        self.launch(**more)
        await until(self._came_up, seconds=READY_SECONDS)

    def launch(self, **more: str) -> None:
        """Start it and wait for nothing."""
        self._log_begin = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._running = _spawn(self.argv, {**self.environment, **more}, log)
        self.pids.append(self._running.pid)

    def _came_up(self) -> bool:
        if not self.is_alive():
            raise AssertionError(f"{self.name} ended before it was ready:\n{self.output()[-3000:]}")
        return self.is_ready(self.output())

    def output(self) -> str:
        """What it wrote since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._log_begin)
            return log.read().decode(errors="replace")

    def is_alive(self) -> bool:
        return self._running is not None and self._running.poll() is None

    def end_code(self) -> int | None:
        """How the last start ended: minus the signal's number, or the exit code; None while it runs."""
        return None if self._running is None else self._running.poll()

    def signal(self, number: signal.Signals) -> None:
        if self._running is not None and self.is_alive():
            self._running.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self._wait(10)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def stop(self) -> None:
        """SIGTERM; SIGKILL where that does not help."""
        self.thaw()
        self.signal(signal.SIGTERM)
        try:
            self._wait(15)
        except subprocess.TimeoutExpired:
            self.kill()

    async def died(self, *, seconds: float = 30) -> int:
        """Wait until it has ended by itself; its end code."""
        await until(lambda: not self.is_alive(), seconds=seconds)
        code = self.end_code()
        assert code is not None
        return code

    def _wait(self, seconds: float) -> None:
        if self._running is not None:
            self._running.wait(seconds)


def _spawn(
    argv: tuple[str, ...], environment: Mapping[str, str], log: IO[bytes]
) -> subprocess.Popen[bytes]:
    # Dies with this process, so that a test that is broken off leaves nothing behind.
    return subprocess.Popen(
        bound_command(argv),
        env=dict(environment),
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def resident_mib(pid: int) -> float:
    """Resident memory of a process, in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2
