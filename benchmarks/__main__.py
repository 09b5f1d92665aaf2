"""`make bench`: Perdure against a raw Temporal loop, interleaved on one server. JSON lines on stdout, then a table."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time

from temporalio.client import Client

from benchmarks.figures import Report
from benchmarks.sides import PerdureSide, RawSide, wait_for_function
from benchmarks.stack import Stack, cpu_ms, resident_mib, running_stack
from perdure import AsyncPerdure

STEPS = (1, 5, 20)
CONCURRENT = 50
STEPS_OF_CONCURRENT = 3


async def _ms_per_step(report: Report, raw: RawSide, ours: PerdureSide, rounds: int) -> None:
    for steps in STEPS:
        raw_ms: list[float] = []
        our_ms: list[float] = []
        for _ in range(rounds):
            raw_ms.append(await raw.run(steps) * 1000 / steps)
            our_ms.append(await ours.run(steps) * 1000 / steps)
        report.add(f"raw_ms_per_step_{steps}", raw_ms, "ms")
        report.add(f"perdure_ms_per_step_{steps}", our_ms, "ms")
        ratios = [mine / theirs for mine, theirs in zip(our_ms, raw_ms, strict=True)]
        name = "step_ratio" if steps == max(STEPS) else f"step_ratio_{steps}"
        report.add(name, ratios, "perdure / raw", steps=steps)


async def _cpu_per_step(report: Report, ours: PerdureSide, stack: Stack, rounds: int) -> None:
    steps = max(STEPS)
    used: dict[str, list[float]] = {name: [] for name in stack.processes if "raw" not in name}
    for _ in range(rounds):
        before = {name: cpu_ms(stack.processes[name]) for name in used}
        await ours.run(steps)
        for name, samples in used.items():
            samples.append((cpu_ms(stack.processes[name]) - before[name]) / steps)
    for name, samples in used.items():
        report.add(f"cpu_ms_per_step_{name.replace(' ', '_')}", samples, "ms")


async def _runs_per_second(report: Report, raw: RawSide, ours: PerdureSide, rounds: int) -> None:
    raw_rate: list[float] = []
    our_rate: list[float] = []
    for _ in range(rounds):
        for side, rates in ((raw, raw_rate), (ours, our_rate)):
            started = time.perf_counter()
            await asyncio.gather(*(side.run(STEPS_OF_CONCURRENT) for _ in range(CONCURRENT)))
            rates.append(CONCURRENT / (time.perf_counter() - started))
    report.add(f"raw_runs_per_second_{CONCURRENT}", raw_rate, "runs/s")
    report.add(f"perdure_runs_per_second_{CONCURRENT}", our_rate, "runs/s")
    ratios = [mine / theirs for mine, theirs in zip(our_rate, raw_rate, strict=True)]
    report.add(f"rate_ratio_{CONCURRENT}", ratios, "perdure / raw")


async def _latencies(report: Report, ours: PerdureSide, rounds: int) -> None:
    creations = [await ours.creation() * 1000 for _ in range(rounds * 10)]
    report.add("create_run_p50", creations, "ms")
    report.add("create_run_p95", creations, "ms", quantile=0.95)
    notices = [await ours.notice() * 1000 for _ in range(rounds * 10)]
    report.add("transition_to_poll_p50", notices, "ms")
    report.add("transition_to_poll_p95", notices, "ms", quantile=0.95)


async def _measure(stack: Stack, rounds: int) -> Report:
    report = Report()
    temporal = await Client.connect(stack.temporal_address)
    async with AsyncPerdure(
        url=stack.url, api_key=stack.api_key, cluster_id=stack.cluster_id
    ) as client:
        raw, ours = RawSide(temporal), PerdureSide(client, stack, temporal)
        await wait_for_function(stack)
        for _ in range(3):  # warm both sides up
            await raw.run(3)
            await ours.run(3)
        await _ms_per_step(report, raw, ours, rounds)
        await _cpu_per_step(report, ours, stack, rounds)
        await _latencies(report, ours, rounds)
        report.add("history_bytes_per_10_calls", [float(await ours.history_bytes(10))], "bytes")
        await _runs_per_second(report, raw, ours, max(3, rounds // 2))
    for name, pid in stack.processes.items():
        report.add(f"memory_{name.replace(' ', '_')}", [resident_mib(pid)], "MiB")
    return report


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="samples of each side (default 7)")
    args = parser.parse_args()
    with running_stack() as stack:
        report = asyncio.run(_measure(stack, args.rounds))
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    sys.stdout.write(f"\n{report.table()}\n\nload average at the end: {load}\n")


if __name__ == "__main__":
    main()
