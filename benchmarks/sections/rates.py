"""Runs per second with many runs at once, and the peers beside it."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.bench import Bench
from benchmarks.report.figures import Sheet
from benchmarks.sections.interleaving import Samples, in_turn
from benchmarks.sections.steps import STEPS
from benchmarks.sides.sides import Side

STEPS_OF_CONCURRENT = 3
_NO_PEERS = frozenset({"raw", "perdure", "hosted"})


async def rates(bench: Bench, peers: Sequence[Side] = ()) -> None:
    """Everybody who is there, at each number of runs at once."""
    plan = bench.plan
    for concurrent in plan.concurrent:
        sheet = bench.sheet(f"runs per second, {concurrent} runs of 3 calls at once")

        async def measure(side: Side, concurrent: int = concurrent) -> float:
            return concurrent / await side.play(STEPS_OF_CONCURRENT, concurrent)

        taken = await in_turn(
            [*bench.sides, *peers],
            measure,
            rounds=plan.rate_rounds,
            seconds=plan.section_seconds,
        )
        _report(sheet, taken, f"runs_per_second_{concurrent}", f"rate_{concurrent}", "runs/s")
        _report_rate_ratios(sheet, taken, concurrent)


def _report_rate_ratios(sheet: Sheet, taken: Samples, concurrent: int) -> None:
    raw = taken.of.get("raw")
    for name, figure in (("perdure", "rate_ratio"), ("hosted", "hosted_rate_ratio")):
        if raw and name in taken.of:
            sheet.ratio(f"{figure}_{concurrent}", taken.of[name], raw, f"{name} / raw")


async def peer_steps(bench: Bench, peers: Sequence[Side]) -> None:
    """Milliseconds per iteration in runs of 20 of the peers, with ours and the raw loop beside them again."""
    steps = max(STEPS)
    sheet = bench.sheet(f"ms per iteration beside peers, runs of {steps}")

    async def measure(side: Side) -> float:
        return await side.play(steps) * 1000 / steps

    plan = bench.plan
    taken = await in_turn(
        [*bench.sides, *peers], measure, rounds=plan.peer_rounds, seconds=plan.section_seconds
    )
    _report(sheet, taken, "ms_per_step_beside_peers", "step", "ms")


def _report(sheet: Sheet, taken: Samples, figure: str, ratio: str, unit: str) -> None:
    """Each side's figure; for each peer its ratio to the raw loop, and hosted functions' ratio to it."""
    for name, samples in taken.of.items():
        sheet.add(f"{name}_{figure}", samples, unit)
    for name, reason in taken.failed.items():
        sheet.fail(f"{name}_{figure}", reason)
    raw, hosted = taken.of.get("raw"), taken.of.get("hosted")
    for name in [name for name in taken.of if name not in _NO_PEERS]:
        samples = taken.of[name]
        if raw:
            sheet.ratio(f"{name}_to_raw_{ratio}", samples, raw, f"{name} / raw")
        if hosted:
            sheet.ratio(f"hosted_to_{name}_{ratio}", hosted, samples, f"hosted / {name}")
