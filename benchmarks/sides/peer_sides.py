"""Other products as sides, each in a process and a virtual environment of its own; see `peers/`."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.peers import PEERS, Peer, PeerError, RunningPeer
from benchmarks.sides.sides import Side

SECTION = "peers that cannot be had here"
_OURS = {
    "raw": "Temporal's history alone, in the embedded server's SQLite with `synchronous=FULL`",
    "perdure": "the transcript, calls, events, usage and statuses in the store (SQLite with `synchronous=FULL`), and"
    " Temporal's history as for the raw loop; the function in another process over HTTP",
    "hosted": "as perdure; the function beside the Temporal worker",
}


class PeerSide:
    """A peer's child process, given orders from a thread."""

    def __init__(self, name: str, running: RunningPeer) -> None:
        self.name = name
        self._running = running

    async def play(self, steps: int, runs: int = 1) -> float:
        return await asyncio.to_thread(self._running.measure, steps=steps, runs=runs)

    async def stop(self) -> None:
        """End the process."""
        await asyncio.to_thread(self._running.stop)


@asynccontextmanager
async def running_peers(bench: Bench) -> AsyncGenerator[list[Side]]:
    """All that can be had, started; none where the plan has none. For each of the others there is a row that says why."""
    with tempfile.TemporaryDirectory(prefix="perdure-bench-peers-") as folder:
        sides: list[PeerSide] = []
        try:
            for peer in PEERS if bench.plan.peers else ():
                side = await _started(bench, peer, Path(folder))
                if side is not None:
                    sides.append(side)
            yield list(sides)
        finally:
            await asyncio.gather(*(side.stop() for side in sides))


async def _started(bench: Bench, peer: Peer, folder: Path) -> PeerSide | None:
    name = peer.name.replace("-", "_")
    bench.report.durability.update(_OURS | {name: peer.durability})
    address, namespace = bench.stack.temporal_address, bench.temporal.namespace
    try:
        await asyncio.to_thread(peer.prepare)
        running = await asyncio.to_thread(peer.start, address, namespace, folder / name)
        side = PeerSide(name, running)
    except (PeerError, OSError) as error:
        bench.sheet(SECTION).fail(name, str(error))
        return None
    try:
        await side.play(3)
    except PeerError as error:
        await side.stop()
        bench.sheet(SECTION).fail(name, str(error))
        return None
    return side
