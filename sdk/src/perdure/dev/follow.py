"""Follows the logs of all processes, each line prefixed with the name of its process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

_POLL_SECONDS = 0.1


class LogFollower:
    """Passes each line that is appended to the logs in a folder from now on to `write`."""

    def __init__(self, folder: Path, write: Callable[[str], None]) -> None:
        self._folder = folder
        self._write = write
        self._open: dict[int, tuple[str, IO[bytes]]] = {}
        self._rest: dict[int, bytes] = {}
        self._find(from_end=True)

    async def run(self) -> None:
        """Follow until cancelled; lines written before the cancellation are still passed on."""
        try:
            while True:
                self.poll()
                await asyncio.sleep(_POLL_SECONDS)
        finally:
            self.poll()
            self.close()

    def close(self) -> None:
        for _, log in self._open.values():
            log.close()

    def poll(self) -> None:
        """Pass on what was appended since the last call."""
        self._find(from_end=False)
        for inode, (name, log) in self._open.items():
            *lines, rest = (self._rest.get(inode, b"") + log.read()).split(b"\n")
            self._rest[inode] = rest
            for line in lines:
                self._write(f"{name:<9} | {line.decode(errors='replace')}")

    def _find(self, *, from_end: bool) -> None:
        # By inode: a log that was rotated is read to its end under its old name.
        for file in self._folder.glob("*.log"):
            with suppress(
                FileNotFoundError
            ):  # rotated just now: it is open already under its old name
                self._add(file, from_end=from_end)

    def _add(self, file: Path, *, from_end: bool) -> None:
        if file.stat().st_ino in self._open:
            return
        log = file.open("rb")
        if from_end:
            log.seek(0, os.SEEK_END)
        self._open[os.fstat(log.fileno()).st_ino] = (file.stem, log)
