"""One supervised process: its command, its start, and the description of its end."""

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
    """A process of the stack.

    `argv` begins with an executable; `environment` is complete, nothing else is inherited. `grace` is how many
    seconds it has between SIGTERM and SIGKILL.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    grace: float = 5.0


async def start(
    child: Child, log: IO[bytes], *, stdout: int | None = None
) -> asyncio.subprocess.Process:
    """Start the process in a session of its own, so that Ctrl-C reaches only the supervisor.

    Its output goes to `log`; its standard output goes to `stdout` if given. Raises `OSError`.
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
    """The command that runs `argv` and dies with this process."""
    return (sys.executable, "-I", "-S", str(_BOUND), str(os.getpid()), *argv)


def kill_group(pid: int) -> None:
    """Kill the processes that a process left in its group, such as subprocesses of a user's function.

    The kernel does not reuse the group's number while a process is left in it.
    """
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def describe_end(returncode: int) -> str:
    """Describe how a process ended: `ended by SIGKILL (signal 9)`, `exited with code 1`."""
    if returncode >= 0:
        return f"exited with code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = "a signal"
    return f"was ended by {name} (signal {-returncode})"
