"""Milliseconds per iteration, and the processor time of each process."""

from __future__ import annotations

from benchmarks.bench import Bench, suffix
from benchmarks.report.figures import Sheet, quantile
from benchmarks.sections.interleaving import Samples, in_turn
from benchmarks.sides.processes import used
from benchmarks.sides.sides import Side

STEPS = (1, 5, 20)
SECTION = "ms per iteration"
CPU = "processor time per step"


async def ms_per_step(bench: Bench) -> None:
    """Runs of 1, 5 and 20 steps of every side in turn."""
    sheet = bench.sheet(SECTION)
    for steps in STEPS:

        async def measure(side: Side, steps: int = steps) -> float:
            return await side.play(steps) * 1000 / steps

        plan = bench.plan
        taken = await in_turn(
            bench.sides, measure, rounds=plan.rounds, seconds=plan.section_seconds
        )
        end = "" if steps == max(STEPS) else f"_{steps}"
        report_steps(sheet, taken, steps, end)


def report_steps(sheet: Sheet, taken: Samples, steps: int, end: str) -> None:
    """Each side's milliseconds, and the ratios to the raw loop of the same rounds."""
    for name, samples in taken.of.items():
        sheet.add(f"{name}_ms_per_step_{steps}", samples, "ms")
    for name, reason in taken.failed.items():
        sheet.fail(f"{name}_ms_per_step_{steps}", reason)
    raw = taken.of.get("raw")
    for name, figure in (("perdure", "step_ratio"), ("hosted", "step_ratio_hosted")):
        if raw and name in taken.of:
            sheet.ratio(f"{figure}{end}", taken.of[name], raw, f"{name} / raw")


async def cpu_per_step(bench: Bench) -> None:
    """What each process uses while one side's runs go, one side after the other."""
    sheet = bench.sheet(CPU)
    steps = max(STEPS)
    found: dict[str, list[float]] = {}
    for _ in range(bench.plan.rounds):
        for side in bench.sides:
            before = used(bench.stack.processes)
            await side.play(steps)
            for process, after in used(bench.stack.processes).items():
                name = f"cpu_ms_per_step_{process}{suffix(side) if side.name != 'raw' else '_raw'}"
                found.setdefault(name, []).append((after - before[process]) / steps)
    for name, samples in found.items():
        if quantile(samples, 0.5) >= 1:  # who has no part in it is left out
            sheet.add(name, samples, "ms")
