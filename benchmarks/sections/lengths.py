"""Long runs: what an iteration costs at their end, against their beginning."""

from __future__ import annotations

import statistics
from datetime import datetime
from itertools import pairwise
from typing import Any

from benchmarks.bench import Bench, suffix
from benchmarks.sides.sides import PerdureSide
from perdure import AsyncRun

SECTION = "long runs"
SIZES = {"2kb": 2_000, "20kb": 20_000}
EARLY, LATE = (10, 30), (390, 410)
_ENDS = 100


async def long_runs(bench: Bench) -> None:
    """Runs for each size of results and each way of hosting functions."""
    sheet = bench.sheet(SECTION)
    early, late = EARLY, _late(bench.plan.long_steps)
    for label, size in SIZES.items():
        for side in bench.ours:
            name = f"{label}{suffix(side)}"
            first: list[float] = []
            last: list[float] = []
            try:
                for _ in range(bench.plan.long_repeats):
                    took = await step_ms(side, bench.plan.long_steps, size)
                    first += took[slice(*early)]
                    last += took[slice(*late)]
            except Exception as error:  # noqa: BLE001 - one run's failure is a row of the table
                sheet.fail(f"late_to_early_{name}", f"{type(error).__name__}: {error}")
                continue
            sheet.add(f"ms_at_step_{early[0]}_to_{early[1]}_{name}", first, "ms")
            sheet.add(f"ms_at_step_{late[0]}_to_{late[1]}_{name}", last, "ms")
            # the store keeps whole milliseconds, of which a hosted step takes few
            ratio = statistics.median_grouped(last) / statistics.median_grouped(first)
            sheet.add(f"late_to_early_{name}", [ratio], "ms / ms")


def _late(steps: int) -> tuple[int, int]:
    """Where to look at the end of a run that was made shorter."""
    return LATE if steps >= LATE[1] else (steps - 25, steps - 5)


async def longest_runs(bench: Bench) -> None:
    """Runs of 1,000 steps: whether they complete, and their first and last hundred steps."""
    sheet = bench.sheet(SECTION)
    steps = bench.plan.longest_steps
    if steps == 0:
        return
    for side in bench.ours:
        end = suffix(side)
        try:
            took = await step_ms(side, steps, size=200)
        except Exception as error:  # noqa: BLE001 - one run's failure is a row of the table
            sheet.fail(f"run_of_{steps}_steps_done{end}", f"{type(error).__name__}: {error}")
            continue
        sheet.add(f"run_of_{steps}_steps_done{end}", [1.0], "runs")
        sheet.add(f"run_of_{steps}_first_{_ENDS}{end}", took[1:_ENDS], "ms per step")
        sheet.add(f"run_of_{steps}_last_{_ENDS}{end}", took[-_ENDS:], "ms per step")


async def step_ms(side: PerdureSide, steps: int, size: int) -> list[float]:
    """Milliseconds from one recorded model step to the next, of a run of that many steps. Index 0 is the first."""
    run = await side.run(steps, size=size, patience=600)
    recorded = await recorded_at(run)
    if len(recorded) != steps + 1:
        raise RuntimeError(f"{len(recorded)} steps were recorded, {steps + 1} were expected")
    return [(after - before).total_seconds() * 1000 for before, after in pairwise(recorded)]


async def recorded_at(run: AsyncRun[Any]) -> list[datetime]:
    """When each model step of a run was recorded."""
    return [event.created_at async for event in run.events() if event.type == "step.recorded"]
