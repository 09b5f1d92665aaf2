"""`python -m benchmarks.peers`: other products at the same job, in turn, beside a raw Temporal loop.

JSON lines on stdout, then a table. The first time it makes a virtual environment for each, which takes some minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from temporalio.client import Client

from benchmarks.peers import PEERS, Peer, PeerError
from benchmarks.peers.temporal_server import temporal_server
from benchmarks.sections.interleaving import Samples, in_turn
from benchmarks.sides.peer_sides import PeerSide
from benchmarks.sides.sides import RawSide, Side

_ITERATIONS = 20
_ITERATIONS_AT_ONCE = 3
_SECONDS_FOR_EACH = 120.0
_RAW = "one activity per model step and one per call in Temporal's history, as the rows on Temporal"


@dataclass(slots=True)
class Measured:
    """What there is to say of each side."""

    durability: dict[str, str] = field(default_factory=dict[str, str])
    missing: dict[str, str] = field(default_factory=dict[str, str])
    """Why it does not run here."""
    ms: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    """Milliseconds per iteration."""
    rate: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    """Runs per second."""


async def measure(peers: Sequence[Peer], rounds: int, concurrent: int) -> Measured:
    """All of them, in turn. A peer that does not install, start or do its job is a row that says why."""
    measured = Measured({"raw": _RAW})
    with tempfile.TemporaryDirectory(prefix="perdure-peers-") as folder:
        async with AsyncExitStack() as stack:
            address = await stack.enter_async_context(temporal_server(Path(folder)))
            sides: list[Side] = [RawSide(await Client.connect(address))]
            for peer in peers:
                measured.durability[peer.name] = peer.durability
                side = await _started(peer, address, Path(folder), measured)
                if side is not None:
                    stack.push_async_callback(side.stop)
                    sides.append(side)
            await _all_figures(sides, rounds, concurrent, measured)
    return measured


async def _started(peer: Peer, address: str, folder: Path, measured: Measured) -> PeerSide | None:
    try:
        await asyncio.to_thread(peer.prepare)
        running = await asyncio.to_thread(peer.start, address, "default", folder / peer.name)
    except (PeerError, OSError) as error:
        measured.missing[peer.name] = str(error)
        return None
    return PeerSide(peer.name, running)


async def _all_figures(
    sides: Sequence[Side], rounds: int, concurrent: int, measured: Measured
) -> None:
    async def warm_up(side: Side) -> float:
        return await side.play(_ITERATIONS_AT_ONCE, runs=5)

    async def one_run(side: Side) -> float:
        return await side.play(_ITERATIONS) * 1000 / _ITERATIONS

    async def many_runs(side: Side) -> float:
        return concurrent / await side.play(_ITERATIONS_AT_ONCE, runs=concurrent)

    left = list(sides)
    for kind, rounds_of_it, into in (
        (warm_up, 1, {}),
        (one_run, rounds, measured.ms),
        (many_runs, max(3, rounds // 2), measured.rate),
    ):
        taken = await in_turn(left, kind, rounds=rounds_of_it, seconds=_SECONDS_FOR_EACH)
        left = [side for side in left if side.name in taken.of]
        _keep(taken, into, kind.__name__, measured)


def _keep(taken: Samples, into: dict[str, list[float]], kind: str, measured: Measured) -> None:
    into.update(taken.of)
    measured.missing.update(taken.failed)
    for name, samples in taken.of.items():
        rounded = [round(sample, 3) for sample in samples]
        sys.stdout.write(json.dumps({"side": name, "figure": kind, "samples": rounded}) + "\n")
    sys.stdout.flush()


def table(measured: Measured, concurrent: int) -> str:
    """For people, as Markdown."""
    head = (
        f"| side | ms per iteration, runs of {_ITERATIONS} | of raw"
        f" | runs/s, {concurrent} at once of {_ITERATIONS_AT_ONCE} calls | of raw"
        " | what is kept per step |"
    )
    lines = [head, "|---|---|---|---|---|---|"]
    for name, durability in measured.durability.items():
        if reason := measured.missing.get(name):
            lines.append(f"| {name} | not measured: {reason.replace('|', '/')} | | | | |")
            continue
        cells = (*_cells(measured.ms, name), *_cells(measured.rate, name))
        lines.append(f"| {name} | {' | '.join(cells)} | {durability} |")
    return "\n".join(lines)


def _cells(samples: dict[str, list[float]], name: str) -> tuple[str, str]:
    own = samples[name]
    spread = f"{min(own):.1f} … {max(own):.1f}"
    pairs = zip(own, samples.get("raw", []), strict=False)
    ratios = [mine / raw for mine, raw in pairs]
    return (
        f"{statistics.median(own):.1f} ({spread})",
        f"{statistics.median(ratios):.2f}" if ratios else "",
    )


def main() -> None:
    """Measure, print."""
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"all, or some of: {', '.join(names)}")
    parser.add_argument("--rounds", type=int, default=5, help="samples of each side (default 5)")
    parser.add_argument("--concurrent", type=int, default=50, help="runs at once (default 50)")
    args = parser.parse_args()
    if unknown := set(args.names) - set(names):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    wanted = [peer for peer in PEERS if peer.name in (args.names or names)]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends it as Ctrl-C does: tidily
    measured = asyncio.run(measure(wanted, args.rounds, args.concurrent))
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    sys.stdout.write(f"\n{table(measured, args.concurrent)}\n\nload average at the end: {load}\n")


if __name__ == "__main__":
    main()
