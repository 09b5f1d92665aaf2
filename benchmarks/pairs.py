"""Two checkouts side by side: `python -m benchmarks.pairs ../before --store postgresql --rounds 12`.

Each has a stack of its own; runs of 20 steps go in turn, first the one, then the other, so that a busy minute meets both.
`observer` is the time from a run's final transition until a long poll has it. Processor time is that of the API and the
Temporal workers. A quotient below 1 says that this checkout is faster, or uses less, than the other. The other one runs in its own `.venv`, or without
one in this checkout's, where the entry point of its command `perdure` is the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

STEPS = 20
OBSERVATIONS = 5
SIDES = ("raw", "perdure", "hosted", "observer")
_THINKING_MS = 150
"""The model takes so long, so that the observer waits when the run ends."""
_HERE = Path(__file__).parents[1]


class Sample(NamedTuple):
    """Of one step, or one observation, in milliseconds."""

    elapsed: float
    processor: float


class Checkout:
    """A process that runs what it is asked for on a stack of a checkout's own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._heard("ready")

    def sample(self, side: str) -> Sample:
        """The mean of one run's steps; the median of some observations."""
        assert self._process.stdin is not None  # noqa: S101 # opened below
        self._process.stdin.write(f"{side}\n")
        self._process.stdin.flush()
        return Sample(*json.loads(self._heard()))

    def _heard(self, wanted: str = "") -> str:
        assert self._process.stdout is not None  # noqa: S101 # opened below
        line = self._process.stdout.readline().strip()
        if not line or (wanted and line != wanted):
            raise RuntimeError(f"{self._process.args!r} said {line!r}")
        return line


@contextmanager
def running(checkout: Path, store: str) -> Generator[Checkout]:
    """The process while the block runs; its errors go where this process's go."""
    own = checkout / ".venv/bin/python"
    environment = os.environ | {"PYTHONPATH": f"{checkout}:{checkout / 'sdk/src'}"}
    process = subprocess.Popen(
        [own if own.exists() else sys.executable, __file__, "--serve", store],
        env=environment,
        cwd=checkout,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield Checkout(process)
        assert process.stdin is not None  # noqa: S101 # opened above
        process.stdin.close()


def compare(other: Path, store: str, rounds: int) -> None:
    """Print what both took, and their quotients."""
    taken: dict[str, list[tuple[Sample, Sample]]] = {side: [] for side in SIDES}
    with ExitStack() as running_ones:
        before, after = (
            running_ones.enter_context(running(checkout, store)) for checkout in (other, _HERE)
        )
        for number in range(rounds):
            for side in SIDES:
                if number % 2:
                    mine, theirs = after.sample(side), before.sample(side)
                else:
                    theirs, mine = before.sample(side), after.sample(side)
                taken[side].append((theirs, mine))
    print(f"milliseconds per step, {rounds} pairs of runs of {STEPS} steps on {store}")
    for side, pairs in taken.items():
        for figure in Sample._fields if side != "raw" else ("elapsed",):
            _print_pairs(f"{side} {figure}", [_figures(pair, figure) for pair in pairs])


def _figures(pair: tuple[Sample, Sample], figure: str) -> tuple[float, float]:
    other, this = (getattr(sample, figure) for sample in pair)
    return other, this


def _print_pairs(name: str, pairs: Sequence[tuple[float, float]]) -> None:
    quotients = sorted(this / other for other, this in pairs)
    first, last = quotients[len(quotients) // 4], quotients[-len(quotients) // 4]
    print(
        f"{name:18} other {statistics.median(other for other, _ in pairs):7.2f}"
        f"  this {statistics.median(this for _, this in pairs):7.2f}"
        f"  this - other {statistics.median(this - other for other, this in pairs):6.2f}"
        f"  this / other {statistics.median(quotients):.2f} (quartiles {first:.2f} … {last:.2f})"
    )


def _from_checkout(module: str) -> Any:
    """A module of the checkout's `benchmarks`; in older checkouts all modules stand side by side, without packages."""
    try:
        return import_module(f"benchmarks.{module}")
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("benchmarks."):
            raise
        return import_module(f"benchmarks.{module.rpartition('.')[2]}")


async def serve(store: str) -> None:
    """Be a checkout's process: a side's name comes in, its milliseconds per step go out."""
    from benchmarks.bench import Plan, bench_of  # noqa: PLC0415 - the checkout's own

    report_type = _from_checkout("report.figures").Report
    running_postgres = _from_checkout("sides.postgres").running_postgres
    running_stack = _from_checkout("sides.stack").running_stack

    database = running_postgres() if store == "postgresql" else nullcontext()
    with database as postgres, running_stack(postgres) as stack:
        async with bench_of(stack, Plan(), report_type({})) as bench:
            sides = {side.name: side for side in bench.sides}
            print("ready", flush=True)
            while name := (await asyncio.to_thread(sys.stdin.readline)).strip():
                before = _processor_ms(stack.processes)
                if name == "observer":
                    elapsed, units = await _observe(bench.http), OBSERVATIONS
                else:
                    elapsed, units = await sides[name].play(STEPS) * 1000 / STEPS, STEPS
                used = _processor_ms(stack.processes) - before
                print(json.dumps([elapsed, used / units]), flush=True)


def _processor_ms(processes: Mapping[str, int]) -> float:
    """Processor milliseconds so far of the API and the Temporal workers."""
    used = _from_checkout("sides.processes").used(processes)
    return float(used["api"] + used["workers"])


async def _observe(side: Any) -> float:
    """The median of milliseconds from the time stamp of a run's final transition until a long poll has it."""
    seen_after: list[float] = []
    for _ in range(OBSERVATIONS):
        run = await side.create(0, delay_ms=_THINKING_MS)
        ended_at = (await run.poll(timeout=60)).run.finished_at
        seen_after.append((datetime.now(UTC) - ended_at).total_seconds() * 1000)
    return statistics.median(seen_after)


def main() -> None:
    """Compare, or be one of those that are compared."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pairs", description=__doc__)
    parser.add_argument("other", type=Path, nargs="?", help="another checkout of this repository")
    parser.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--serve", metavar="STORE", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        asyncio.run(serve(args.serve))
    elif args.other is None:
        parser.error("name the other checkout")
    elif not (args.other / "benchmarks").is_dir():
        parser.error(f"{args.other} is no checkout of this repository")
    else:
        compare(args.other.resolve(), args.store, args.rounds)


if __name__ == "__main__":
    main()
