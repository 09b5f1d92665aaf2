"""Runs that are long: what the thousandth step and the thousandth follow-up cost against the first."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2

from perdure import AsyncPerdure
from tests.faults.checker.evidence import gather
from tests.faults.checker.invariants import Violation
from tests.faults.checker.outcome import Outcome, judge
from tests.faults.ground.ground import Ground, laid_out
from tests.faults.ground.load import Scale, all_delivered, ended
from tests.faults.scenarios.scale_figures import (
    Sample,
    history_of,
    idle,
    percentile,
    percents,
    sample,
    sampled,
    stretch,
)

STEPS_PER_RUN = 25
"""Steps and follow-ups for each run that the scale names: a thousand at full scale."""
_WARM = 30
_BEGUN_ANEW = 1_000
"""Steps after which a history must have been begun anew at least once."""
_IDLE_SECONDS = 20.0
_MOST_IDLE = 5.0
"""Percent of one core that API, Temporal worker and function worker may take together where there is nothing to do."""
_SETTLE_SECONDS = 5.0
_SAMPLES = 20
_MOST_SECONDS = 540.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A long run: characters of each result, and how many times its first step the last may cost."""

    name: str
    size: int
    most: float
    most_mib: float
    """By which a process may grow: a worker remembers the conversation, so that a step reads only what is new."""


SMALL = Kind("long-2kB", 2_000, 1.15, 25)
LARGE = Kind("long-20kB", 20_000, 1.3, 60)
_TALK_MOST, _TALK_MIB = 1.15, 25


def _count(scale: Scale) -> int:
    return max(80, scale.runs * STEPS_PER_RUN)


def _compared(count: int) -> int:
    return min(100, count // 4)


async def long_run(kind: Kind, folder: Path, scale: Scale) -> Outcome:
    """A run of a thousand steps ends, and costs the same to its end."""
    steps = _count(scale)
    async with laid_out(folder) as ground, ground.client() as client:
        await _play(ground, client, kind, _WARM, prefix="warm-")
        found = stretch(await _play(ground, client, kind, steps), _compared(steps))
        history = await history_of(ground, kind.name)
        read, more = await _reading(ground, kind.name)
        more += found.broken(kind.name, most=kind.most, most_mib=kind.most_mib)
        if history.executions < 2 and steps >= _BEGUN_ANEW:
            more.append(Violation("history", kind.name, "was never begun anew"))
        await all_delivered(ground)
        evidence = await gather(ground)
    note = (
        f"the first {_compared(steps)} -> the last: {found.text()}, {history.text(steps)}, {read}"
    )
    return judge(f"{steps} steps, results of {kind.size:,}", evidence, note=note, more=more)


async def _play(
    ground: Ground, client: AsyncPerdure, kind: Kind, steps: int, *, prefix: str = ""
) -> Sequence[Sample]:
    asked = _Lines(ground.ledger)
    async with sampled(ground, asked.count) as looks:
        run = await ground.create(
            client,
            prefix + kind.name,
            steps=steps,
            function="returns",
            delayMs=0,
            input={"size": kind.size},
        )
        await run.poll(timeout=_MOST_SECONDS)
    return looks


class _Lines:
    """Counts the lines of a file that grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._count = 0

    def count(self) -> int:
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            self._read += len(new)
            self._count += new.count(b"\n")
        return self._count


async def _reading(ground: Ground, run: str) -> tuple[str, list[Violation]]:
    """What it takes to read the run's first events and its last ones."""
    runs = f"/clusters/{ground.tenant.cluster_id}/runs/{run}"
    headers = {"authorization": f"Bearer {ground.tenant.key}"}
    async with httpx2.AsyncClient(base_url=ground.url, headers=headers, timeout=30) as http:
        version = (await http.get(runs)).json()["version"]
        took = {
            after: [
                await _seconds(http, f"{runs}/timeline?limit=50&after={after}")
                for _ in range(_SAMPLES)
            ]
            for after in (0, version - 50)
        }
    first, last = (percentile(seconds, 50) for seconds in took.values())
    said = f"timeline's first page {first * 1000:.0f} ms, its last {last * 1000:.0f} ms"
    late = last > 2 * first and last > 0.05
    return said, [Violation("flat", run, said)] if late else []


async def _seconds(http: httpx2.AsyncClient, path: str) -> float:
    began = time.monotonic()
    answer = await http.get(path)
    assert answer.status_code == 200, answer.text
    return time.monotonic() - began


async def long_talk(folder: Path, scale: Scale) -> Outcome:
    """A run that stays open for a thousand follow-ups, each with a call: every one is answered, at the same cost."""
    count, more = _count(scale), list[Violation]()
    async with (
        laid_out(folder, PERDURE_SCRIPTED_POLICIES=_POLICIES) as ground,
        ground.client() as client,
    ):
        run = await client.create_run(
            "Hello.", id="talk", model="scripted/talk", functions=["faults_work"]
        )
        ground.acknowledged[run.id] = ground.tenant.cluster_id
        await run.poll(timeout=60)
        answered = 0
        async with sampled(ground, lambda: answered) as looks:
            for number in range(count):
                await run.send(f"And {number}?")
                result = await run.poll(timeout=60)
                if result.result != f"talk: And {number}?":
                    more.append(Violation("answered", run.id, f"{number}: {result.result!r}"))
                answered += 1
        found = stretch(looks, _compared(count))
        history = await history_of(ground, run.id)
        more += found.broken(run.id, most=_TALK_MOST, most_mib=_TALK_MIB)
        await ended(ground, client)
        evidence = await gather(ground)
    note = f"{count} follow-ups, the first {_compared(count)} -> the last: {found.text()}, {history.text(count)}"
    return judge("long talk", evidence, note=note, more=more)


_POLICIES = "plan=tests.faults.ground.policies:plan,talk=tests.faults.scenarios.scale_talk:talk"


async def idle_stack(folder: Path, _: Scale) -> Outcome:
    """A stack without a run takes next to nothing."""
    async with laid_out(folder) as ground:
        await idle(ground, _SETTLE_SECONDS)
        taken = await idle(ground, _IDLE_SECONDS)
        memory = ", ".join(f"{name} {mib:.0f}" for name, mib in sample(ground).memory.items())
        evidence = await gather(ground)
    ours = sum(percent for name, percent in taken.items() if name != "temporal")
    more = [Violation("idle", "", f"{ours:.1f} % of a core")] if ours > _MOST_IDLE else []
    return judge(
        "idle stack", evidence, note=f"of a core {percents(taken)}; MiB {memory}", more=more
    )
