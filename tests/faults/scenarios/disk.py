"""A disk that is full for a while, with the store and Temporal's data on it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from tests.faults.checker.invariants import Violation
from tests.faults.checker.outcome import Outcome
from tests.faults.ground.ground import Ground, laid_out, temporal_serves
from tests.faults.ground.load import Scale, a_moment, begin, concluded, seconds_back

_SIZE = "96m"
_FULL_SECONDS = 6.0


async def disk_full(folder: Path, scale: Scale) -> Outcome:
    """The disk is full, then freed: everything stands still, nothing is corrupted, and it goes on."""
    with _small_disk() as disk:
        if disk is None:
            note = "not tried: mounting a small disk is not allowed here"
            return Outcome("disk full", 0, 0, 0, 0, None, (), note)
        async with laid_out(folder, data=disk) as ground, ground.client() as client:
            await begin(ground, client, scale)
            await a_moment(ground)
            ballast = _fill(disk)
            await asyncio.sleep(_FULL_SECONDS)
            back = await seconds_back(ground, lambda: _free(ground, ballast))
            more = [
                Violation("corruption", "", f"{path.name}: {said}")
                for path in disk.glob("*.db")
                if (said := _integrity(path)) != "ok"
            ]
            deaths = ", ".join(name for name, one in ground.processes.items() if len(one.pids) > 1)
            note = (
                f"full for {_FULL_SECONDS:g} s; ended by it and started again: {deaths or 'none'}"
            )
            return await concluded("disk full", ground, client, back=back, note=note, more=more)


@contextmanager
def _small_disk() -> Generator[Path | None]:
    """A file system of its own; None where that is not allowed."""
    folder = Path(tempfile.mkdtemp(prefix="perdure-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (subprocess.CalledProcessError, OSError):
        folder.rmdir()
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


def _fill(disk: Path) -> Path:
    """A file that takes what is left."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(os.urandom(4096) * 16)
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(b"x")
    return ballast


async def _free(ground: Ground, ballast: Path) -> None:
    """There is room again; what the full disk has ended is started again, as its supervisor would."""
    await asyncio.to_thread(ballast.unlink)
    for name, process in ground.processes.items():
        if not process.is_alive():
            await process.start()
            if name == "temporal":
                await temporal_serves(ground.temporal_address)


def _integrity(path: Path) -> str:
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
