"""One supervised process: what it is, how it is started, how its end reads."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

_BOUND = Path(__file__).with_name("bound.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A process the stack consists of.

    `argv` begins with an executable; `environment` is complete, nothing is inherited beside it. `grace` is how many
    seconds it has between SIGTERM and SIGKILL.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    grace: float = 5.0


async def start(
    child: Child, log: IO[bytes], *, stdout: int | None = None
) -> asyncio.subprocess.Process:
    """Start the process in a session of its own, so that a Ctrl-C reaches the supervisor alone.

    Everything it writes goes to `log`; its output goes to `stdout` where that is given. Raises `OSError`.
    """
    return await asyncio.create_subprocess_exec(
        *bound_command(child.argv),
        env=dict(child.environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=log if stdout is None else stdout,
        stderr=log,
        start_new_session=True,
    )


def bound_command(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The command that becomes `argv` and dies with this process."""
    return (sys.executable, "-I", "-S", str(_BOUND), str(os.getpid()), *argv)


def kill_group(pid: int) -> None:
    """End what a process left behind in its own group, such as subprocesses of a user's function.

    As long as anything is left in the group its number is not given to anybody else.
    """
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def describe_end(returncode: int) -> str:
    """How a process ended, for people: `ended by SIGKILL (signal 9)`, `exited with code 1`."""
    if returncode >= 0:
        return f"exited with code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = "a signal"
    return f"was ended by {name} (signal {-returncode})"
