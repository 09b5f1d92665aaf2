"""Drives `perdure dev` as a person or a program would: a process of its own, its two outputs, signals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

STANDIN = Path(__file__).with_name("standin")
PERDURE = (sys.executable, "-m", "perdure.cli")
WAIT_SECONDS = 30.0


def eventually(question: Callable[[], T | None], patience: float = WAIT_SECONDS) -> T:
    """The first answer that is true; fails when none came in time."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if answer := question():
            return answer
        time.sleep(0.02)
    raise AssertionError(f"did not come true within {patience} s")


def clean_environment(**changes: str) -> dict[str, str]:
    """This process's environment without a word about Perdure, Temporal or a model's key."""
    prefixes = ("PERDURE_", "TEMPORAL_", "ANTHROPIC_", "STANDIN_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    return {**kept, "PYTHONPATH": str(STANDIN), "NO_COLOR": "1", **changes}


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that ended and was not collected does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


class Dev:
    """One `perdure dev --json --port 0` in a folder.

    Temporal is real; the API and the workers are stand-ins, unless `real`.
    """

    def __init__(self, folder: Path, *, real: bool = False) -> None:
        self._real = {"PYTHONPATH": ""} if real else {}
        self.folder = folder
        self.state = folder / ".perdure"
        self._processes: list[subprocess.Popen[str]] = []

    def start(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        as_json: bool = True,
    ) -> subprocess.Popen[str]:
        output = ("--json",) if as_json else ()
        with self.errors_file.open("w") as errors:
            process = subprocess.Popen(
                [*PERDURE, "dev", "--port", "0", *output, *arguments],
                cwd=self.folder,
                env=clean_environment(**self._real, **(environment or {})),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._processes.append(process)
        return process

    def start_ready(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start and wait for the line that says so; the line is `ready_line` then."""
        process = self.start(*arguments, environment=environment)
        assert process.stdout
        self.ready_line = process.stdout.readline()
        assert self.ready_line, self.errors
        return process

    @property
    def errors_file(self) -> Path:
        return self.folder / "stderr"

    @property
    def errors(self) -> str:
        return self.errors_file.read_text()

    @property
    def connection(self) -> dict[str, str]:
        return json.loads(self.ready_line)

    def pids(self) -> dict[str, int]:
        """The recorded processes, by name."""
        recorded: list[dict[str, Any]] = json.loads((self.state / "processes.json").read_text())
        return {each["name"]: each["pid"] for each in recorded}

    def new_pid(self, name: str, old: int) -> int:
        """The pid under which a part came back."""

        def look() -> int | None:
            pid = self.pids().get(name)
            return pid if pid != old else None

        return eventually(look)

    def kill_all(self) -> None:
        """End every supervisor that a test left running; its children die with it."""
        for process in self._processes:
            pids = self.pids().values() if process.poll() is None and self.recorded() else ()
            process.kill()
            process.communicate()
            for pid in pids:
                eventually(lambda pid=pid: not is_alive(pid))

    def recorded(self) -> bool:
        return (self.state / "processes.json").exists()
