"""What a step asks of the databases and of Temporal: the growth page is computed from it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from benchmarks.bench import Bench, suffix
from benchmarks.sections.counting import Counters, Counts
from benchmarks.sections.latencies import history_of
from benchmarks.sides.sides import PerdureSide, Side

SECTION = "what a step asks for, counted by the servers"
STEPS = 20
_SETTLING_SECONDS = 2.5
"""PostgreSQL's sessions tell what they did after a second without work."""
_IDLE_SECONDS = 5.0
THINKING_MS = 5_000
"""What a step of a real model may take."""


async def costs(bench: Bench) -> None:
    """Counts per step in runs of 20, the run's start and end included; what an idle stack does is taken off."""
    counters = Counters(bench.stack)
    idle = await _idle_per_second(counters)
    sheet = bench.sheet(SECTION)
    for name, rate in idle.items():
        if rate >= 0.05 and "bytes" not in name:
            sheet.add(f"{name}_per_second_idle", [rate], "per second")
    for side in bench.sides:
        end = "_raw" if side.name == "raw" else suffix(side)
        for name, count in (await _per_step(bench, side, counters, idle)).items():
            if side.name != "raw" or name.startswith("temporal"):
                sheet.add(f"{name}_per_step{end}", [max(0.0, count)], "per step")


async def _idle_per_second(counters: Counters) -> Counts:
    before = await _settled(counters)
    started = time.monotonic()
    await asyncio.sleep(_IDLE_SECONDS)
    after = await asyncio.to_thread(counters.read)
    seconds = time.monotonic() - started
    return {name: (after[name] - before[name]) / seconds for name in before}


async def thinking(bench: Bench) -> None:
    """What Temporal is asked for when the model takes as long as a real one: heartbeats, and fewer steps in an activity."""
    runs, steps = bench.plan.counted_runs, bench.plan.thinking_steps
    if steps == 0:
        return
    counters = Counters(bench.stack)
    idle = await _idle_per_second(counters)
    sheet = bench.sheet(f"{SECTION}, with {THINKING_MS / 1000:g} s for each reply of the model")
    for side in bench.ours:
        ran: list[str] = []

        async def play(side: PerdureSide = side, ran: list[str] = ran) -> None:
            many = (side.run(steps, delay_ms=THINKING_MS) for _ in range(runs))
            ran += [side.workflow_id(one) for one in await asyncio.gather(*many)]

        counts = await _counted(play, counters, idle, runs * steps)
        # no processor time: what Temporal uses for itself meanwhile is more, and changes
        for name in (n for n in counts if n.startswith("temporal") and "cpu" not in n):
            sheet.add(f"{name}_per_step_thinking{suffix(side)}", [counts[name]], "per step")
        histories = [await history_of(bench, workflow_id) for workflow_id in ran]
        for name, index in (("history_bytes", 0), ("history_events", 1)):
            sizes = [one[index] / steps for one in histories]
            sheet.add(f"{name}_per_step_thinking{suffix(side)}", sizes, "per step")


async def _per_step(bench: Bench, side: Side, counters: Counters, idle: Counts) -> Counts:
    async def play() -> None:
        await side.play(STEPS, bench.plan.counted_runs)

    return await _counted(play, counters, idle, STEPS * bench.plan.counted_runs)


async def _counted(
    play: Callable[[], Awaitable[None]], counters: Counters, idle: Counts, steps: int
) -> Counts:
    before = await _settled(counters)
    started = time.monotonic()
    await play()
    after = await _settled(counters)
    seconds = time.monotonic() - started
    return {
        # bytes come in bursts: what an idle moment wrote says nothing of another one
        name: (after[name] - before[name] - (0 if "bytes" in name else idle[name] * seconds))
        / steps
        for name in before
    }


async def _settled(counters: Counters) -> Counts:
    await asyncio.sleep(_SETTLING_SECONDS)
    return await asyncio.to_thread(counters.read)
