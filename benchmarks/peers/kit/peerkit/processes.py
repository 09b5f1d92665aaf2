"""Processes that a peer consists of beside its child: they end with it, however it ends."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_SECONDS_TO_START = 60.0
_SECONDS_TO_STOP = 10.0
_PAUSE = 0.05


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def beside(
    *argv: str | Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    stdout: int | None = None,
    tidies_up: bool = False,
) -> AsyncIterator[Process]:
    """Run a process while the block runs. What it writes goes to stderr, or its output to `stdout`.

    Its stdin ends with the block. It is killed when this process dies, unless it `tidies_up` by itself then.
    """
    process = await asyncio.create_subprocess_exec(
        *map(str, argv),
        stdin=asyncio.subprocess.PIPE,
        stdout=sys.stderr.fileno() if stdout is None else stdout,
        env={**os.environ, **(environment or {})},
        cwd=folder,
        preexec_fn=None if tidies_up or sys.platform != "linux" else _die_with_parent,
    )
    try:
        yield process
    finally:
        await _end(process)


@asynccontextmanager
async def script_beside(
    script: Path, *arguments: str, tidies_up: bool = False
) -> AsyncIterator[str]:
    """Run a script of this Python while the block runs; gives the line that it says when it is ready.

    Raises `RuntimeError` when it does not say one.
    """
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, script, *arguments)
    async with beside(*command, stdout=pipe, tidies_up=tidies_up) as process:
        assert process.stdout is not None  # noqa: S101 # a pipe was asked for
        line = await asyncio.wait_for(process.stdout.readline(), _SECONDS_TO_START)
        if not line:
            raise RuntimeError(f"{script.name} ended before it was ready")
        yield line.decode().strip()


def say_ready(line: str = "ready") -> None:
    """What such a script says, once. All it writes afterwards goes to stderr."""
    print(line, flush=True)
    os.dup2(2, 1)


async def until(check: Callable[[], Awaitable[bool]], process: Process, what: str) -> None:
    """Wait until the check holds. Raises `RuntimeError` when the process ended or a minute is up."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_SECONDS_TO_START):
            while process.returncode is None:
                if await check():
                    return
                await asyncio.sleep(_PAUSE)
    raise RuntimeError(f"{what} did not start")


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


async def _end(process: Process) -> None:
    if process.returncode is not None:
        return
    assert process.stdin is not None  # noqa: S101 # a pipe was asked for
    process.stdin.close()
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _SECONDS_TO_STOP)
    except TimeoutError:
        process.kill()
        await process.wait()
