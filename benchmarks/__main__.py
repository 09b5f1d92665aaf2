"""`make bench`: Perdure, a raw Temporal loop and other products, in turn. JSON lines on stdout, then one table."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.bench import QUICK, Bench, Plan, bench_of
from benchmarks.report.figures import Report
from benchmarks.report.pages import MEASURED, rewrite_pages
from benchmarks.sections import costs, latencies, legs, lengths, rates, steps
from benchmarks.sections.cold_start import cold_starts
from benchmarks.sides.peer_sides import running_peers
from benchmarks.sides.postgres import running_postgres
from benchmarks.sides.processes import resident_mib
from benchmarks.sides.stack import running_stack

Section = Callable[[Bench], Awaitable[None]]
STORES = ("sqlite", "postgresql")
COLD = "cold"


async def _many_runs(bench: Bench) -> None:
    async with running_peers(bench) as peers:
        if peers:
            await rates.peer_steps(bench, peers)
        await rates.rates(bench, peers)


async def _memory(bench: Bench) -> None:
    sheet = bench.sheet("memory at the end")
    for name, pid in bench.stack.processes.items():
        sheet.add(f"memory_{name}", [resident_mib(pid)], "MiB")


SECTIONS: dict[str, Section] = {
    "steps": steps.ms_per_step,
    "cpu": steps.cpu_per_step,
    "legs": legs.legs,
    "latencies": latencies.latencies,
    "history": latencies.history,
    "costs": costs.costs,
    "thinking": costs.thinking,
    "rates": _many_runs,
    "long": lengths.long_runs,
    "longest": lengths.longest_runs,
    "memory": _memory,
}
"""In their order. `cold` comes after them, without a stack."""
ON_POSTGRESQL = frozenset({"steps", "cpu", "legs", "latencies", "costs", "rates", "memory"})


async def measure(store: str, plan: Plan, report: Report, sections: list[str]) -> None:
    """One stack with that store, and the sections on it. A section that fails is a row of the table."""
    database = running_postgres() if store == "postgresql" else nullcontext()
    with database as postgres, running_stack(postgres) as stack:
        async with bench_of(stack, plan, report) as bench:
            for name in sections:
                await _guarded(name, report, store, SECTIONS[name](bench))


async def _guarded(name: str, report: Report, store: str, section: Awaitable[None]) -> None:
    started = time.monotonic()
    try:
        await section
    except Exception as error:  # noqa: BLE001 - the others are still worth measuring
        report.sheet(name, store).fail(name, f"{type(error).__name__}: {error}")
    _say(f"{name} on {store}: {time.monotonic() - started:.0f} s")


def _say(text: str) -> None:
    sys.stderr.write(f"# {text}\n")


async def measure_all(args: argparse.Namespace, plan: Plan, report: Report) -> None:
    """Every wanted store in turn, then the cold starts."""
    for store in args.store or STORES:
        one = store == "postgresql"
        chosen = replace(plan, concurrent=(50,), peers=False) if one else plan
        sections = [
            name
            for name in args.sections or SECTIONS
            if name in (ON_POSTGRESQL if one else SECTIONS)
        ]
        if sections:
            await _guarded("stack", report, store, measure(store, chosen, report, sections))
    if COLD in (args.sections or [COLD]):
        await _guarded(COLD, report, "sqlite", cold_starts(report, plan.starts))


def _machine() -> dict[str, str | float]:
    return {
        "processors": os.cpu_count() or 0,
        "python": platform.python_version(),
        "day": datetime.now(UTC).date().isoformat(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _plan(args: argparse.Namespace) -> Plan:
    plan = QUICK if args.quick else Plan()
    if args.rounds:
        plan = replace(plan, rounds=args.rounds)
    if args.concurrent:
        plan = replace(plan, concurrent=tuple(args.concurrent))
    return replace(plan, peers=(plan.peers or args.peers) and not args.no_peers)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--store", action="append", choices=STORES, help="only this one; default: both in turn"
    )
    parser.add_argument(
        "--sections",
        type=lambda names: names.split(","),
        help=f"some of {','.join((*SECTIONS, COLD))}",
    )
    parser.add_argument("--rounds", type=int, help="samples of each side (default 7)")
    parser.add_argument(
        "--concurrent", type=int, action="append", help="runs at once (default 50, then 200)"
    )
    parser.add_argument("--quick", action="store_true", help="a look, in less than three minutes")
    parser.add_argument("--peers", action="store_true", help="with other products, also when quick")
    parser.add_argument("--no-peers", action="store_true", help="without other products")
    parser.add_argument("--save", type=Path, help="keep the figures as JSON lines in this file too")
    parser.add_argument(
        "--write",
        action="store_true",
        help=f"keep them in {MEASURED.name} and bring the pages that show them up to date; with --sections or --store"
        " only what was measured is replaced",
    )
    args = parser.parse_args()
    unknown = set(args.sections or ()) - {*SECTIONS, COLD}
    if unknown:
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    return args


def _leave(number: int, _: object) -> None:
    sys.exit(128 + number)  # whatever was started is ended on the way


def main() -> None:
    """Measure, print, keep."""
    args = _arguments()
    signal.signal(signal.SIGTERM, _leave)
    started = time.monotonic()
    report = Report(_machine())
    try:
        asyncio.run(measure_all(args, _plan(args), report))
    finally:
        report.machine["minutes"] = round((time.monotonic() - started) / 60, 1)
        parts = (report.table(), report.sides(), json.dumps(report.machine))
        sys.stdout.write("\n" + "\n\n".join(filter(None, parts)) + "\n")
        if args.save:
            report.save(args.save)
    whole = not (args.sections or args.store)
    if whole and (missing := report.unmeasured()):
        _say(f"have a target and were not measured: {', '.join(missing)}")
    if args.write:
        kept = report if whole or not MEASURED.exists() else Report.load(MEASURED).with_new(report)
        kept.save(MEASURED)
        rewrite_pages(Report.load(MEASURED))  # as everybody reads it, rounded


if __name__ == "__main__":
    main()
