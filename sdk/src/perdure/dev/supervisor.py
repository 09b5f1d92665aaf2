"""Keeps a stack's processes running: restarts those that die, stops them in order.

Runs in the main thread: children ask the kernel to die with the thread that forked them.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from perdure.dev.child import Child, describe_end, kill_group, start
from perdure.dev.record import ProcessRecord
from perdure.dev.state import StateFolder
from perdure.http.backoff import Backoff

EX_CONFIG = 78
"""The exit code (EX_CONFIG of sysexits.h) of a process that a restart cannot help."""
STABLE_SECONDS = 10.0
"""Seconds of life after which a process is restarted without delay again."""


class Supervisor:
    """Holds the children of one stack.

    `log` receives one line about each crash. `crashes` counts them by name. Delays before a restart
    double from `first_delay` to `longest_delay` seconds. Until `is_settled`, a process whose exit code says that
    a restart cannot help is not restarted, but named in `unrecoverable`.
    """

    def __init__(
        self,
        state: StateFolder,
        record: ProcessRecord,
        log: Callable[[str], None],
        *,
        first_delay: float = 0.2,
        longest_delay: float = 5.0,
    ) -> None:
        self._state = state
        self._record = record
        self._log = log
        self._delays = (first_delay, longest_delay)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._children: dict[str, Child] = {}
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()
        self.crashes: dict[str, int] = {}
        self.unrecoverable: list[str] = []
        self.is_settled = False

    def pid(self, name: str) -> int | None:
        """The pid of a child; None while it does not run."""
        process = self._running.get(name)
        return process.pid if process else None

    def supervise(self, child: Child) -> None:
        """Start a child and keep it running until `stop`."""
        self._children[child.name] = child
        self._tasks[child.name] = asyncio.create_task(self._supervise(child), name=child.name)

    async def stop(self) -> None:
        """Stop the children, the last one first, each with its grace period between SIGTERM and SIGKILL."""
        self._stopping.set()
        for name in reversed(self._tasks):
            await self._stop_one(name)

    def kill(self) -> None:
        """Kill all children at once; a `stop` in progress then ends quickly."""
        self._stopping.set()
        for process in self._running.values():
            _signal(process, signal.SIGKILL)

    async def _stop_one(self, name: str) -> None:
        task = self._tasks[name]
        if process := self._running.get(name):
            _signal(process, signal.SIGTERM)
        _, late = await asyncio.wait({task}, timeout=self._children[name].grace)
        if late and (process := self._running.get(name)):
            self._log(f"{name} does not stop: killed.")
            _signal(process, signal.SIGKILL)
        await task

    async def _supervise(self, child: Child) -> None:
        backoff = Backoff(*self._delays)
        while not self._stopping.is_set():
            began = time.monotonic()
            end = await self._run_once(child)
            if self._stopping.is_set():
                return
            if end == describe_end(EX_CONFIG) and not self.is_settled:
                self.unrecoverable.append(child.name)
                return
            if time.monotonic() - began > STABLE_SECONDS:
                backoff.reset()
            delay = backoff.delay()
            self.crashes[child.name] = self.crashes.get(child.name, 0) + 1
            self._log(
                f"{child.name} {end}: restarting it in {delay:.1f} s."
                f" Its log: {self._state.log_file(child.name)}"
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)

    async def _run_once(self, child: Child) -> str:
        """Run the child to its end; returns the description of its end."""
        try:
            with self._state.open_log(child.name) as log:
                process = await start(child, log)
        except OSError as error:
            return f"cannot be started ({error.strerror})"
        self._running[child.name] = process
        self._record.add(child.name, process.pid)
        if self._stopping.is_set():  # requested while the process was being created
            _signal(process, signal.SIGTERM)
        returncode = await process.wait()
        del self._running[child.name]
        kill_group(process.pid)
        self._record.remove(process.pid)
        return describe_end(returncode)


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)
