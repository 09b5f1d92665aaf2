"""A TCP link between two parts that can be held, reset and slowed down, and that may lead to several servers."""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from pathlib import Path

from perdure.dev.ports import LOOPBACK

_CHUNK = 65_536
_CLOSE_IMMEDIATELY = struct.pack("ii", 1, 0)
"""SO_LINGER that makes a close a reset."""


class Mode(StrEnum):
    """What a link does with what comes."""

    PASS = "pass"  # no password
    HOLD = "hold"
    """Connections stay open and nothing gets through, as with a cable that was pulled out."""
    DELAY = "delay"
    """Everything gets through, late."""
    REFUSE = "refuse"
    """Every connection is reset as soon as it is there."""


class Link:
    """Listens on `port` and passes on to the upstream ports or local sockets, the next one for each connection."""

    def __init__(self, upstreams: Sequence[int | Path], *, delay: float = 0.2) -> None:
        self.port = 0
        self._upstreams = itertools.cycle(upstreams)
        self._count = len(upstreams)
        self._delay = delay
        self._mode = Mode.PASS
        self._passing = asyncio.Event()
        self._passing.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def set(self, mode: Mode) -> None:
        """From now on do this. `REFUSE` resets what is open."""
        self._mode = mode
        if mode is Mode.HOLD:
            self._passing.clear()
        else:
            self._passing.set()
        if mode is Mode.REFUSE:
            self.reset()

    def reset(self) -> None:
        """Reset every connection there is."""
        for writer in list(self._writers):
            _reset(writer)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Link]:
        server = await asyncio.start_server(self._accept, LOOPBACK, 0)
        self.port = int(server.sockets[0].getsockname()[1])
        try:
            yield self
        finally:
            server.close()
            self.reset()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode is Mode.REFUSE:
            _reset(writer)
            return
        upstream = await self._reach()
        if upstream is None:
            _reset(writer)
            return
        there_reader, there_writer = upstream
        self._writers |= {writer, there_writer}
        ways = [
            asyncio.create_task(self._pump(reader, there_writer)),
            asyncio.create_task(self._pump(there_reader, writer)),
        ]
        self._tasks |= set(ways)
        await asyncio.gather(*ways, return_exceptions=True)
        self._tasks -= set(ways)
        for one in (writer, there_writer):
            self._writers.discard(one)
            one.close()

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in range(self._count):
            with suppress(OSError):
                upstream = next(self._upstreams)
                if isinstance(upstream, Path):
                    return await asyncio.open_unix_connection(upstream)
                return await asyncio.open_connection(LOOPBACK, upstream)
        return None

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                if self._mode is Mode.DELAY:
                    await asyncio.sleep(self._delay)
                await self._passing.wait()
                writer.write(chunk)
                await writer.drain()
        with suppress(OSError, RuntimeError):
            if writer.can_write_eof():
                writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    own: socket.socket | None = writer.get_extra_info("socket")
    if own is not None:
        with suppress(OSError):
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CLOSE_IMMEDIATELY)
    writer.transport.abort()
