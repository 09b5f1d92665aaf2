"""What the processes of a stack cost while something goes on: time, processor, memory, history."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import quantiles

import psutil

from orchestrator.temporal.client import connect, run_workflow_id
from orchestrator.workflows.interface import RunRef
from tests.faults.checker.invariants import Violation
from tests.faults.ground.ground import Ground
from tests.faults.ground.processes import resident_mib

_SAMPLE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Sample:
    """How things stood: so much was done; processor seconds and resident MiB of each process."""

    done: int
    at: float
    cpu: Mapping[str, float]
    memory: Mapping[str, float]


def sample(ground: Ground, done: int = 0) -> Sample:
    """At each living process, now."""
    living = {name: one.pid for name, one in ground.processes.items() if one.is_alive()}
    return Sample(
        done,
        time.monotonic(),
        {name: _processor_seconds(pid) for name, pid in living.items()},
        {name: resident_mib(pid) for name, pid in living.items()},
    )


def _processor_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


@asynccontextmanager
async def sampled(ground: Ground, done: Callable[[], int]) -> AsyncGenerator[list[Sample]]:
    """Look again and again while the block runs."""
    looks = [sample(ground, done())]

    async def go_on() -> None:
        while True:
            await asyncio.sleep(_SAMPLE_SECONDS)
            looks.append(sample(ground, done()))

    looking = asyncio.create_task(go_on())
    try:
        yield looks
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        looks.append(sample(ground, done()))


@dataclass(frozen=True, slots=True)
class Cost:
    """What one of many costs: milliseconds, and milliseconds of processor by process."""

    ms: float
    cpu: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.cpu.values())


@dataclass(frozen=True, slots=True)
class Stretch:
    """The first and the last of many things that were done one after the other."""

    first: Cost
    last: Cost
    grown: Mapping[str, float]
    """MiB by which each process grew from the end of the first to the end."""
    resident: Mapping[str, float]

    @property
    def slower(self) -> float:
        return self.last.ms / self.first.ms

    @property
    def dearer(self) -> float:
        return self.last.total / self.first.total

    def text(self) -> str:
        cpu = ", ".join(
            f"{name} {self.first.cpu[name]:.1f} -> {self.last.cpu[name]:.1f}"
            for name in self.first.cpu
        )
        memory = ", ".join(
            f"{name} {self.resident[name]:.0f} ({grown:+.0f})" for name, grown in self.grown.items()
        )
        return (
            f"{self.first.ms:.1f} -> {self.last.ms:.1f} ms ({self.slower:.2f}x), CPU ms {cpu}"
            f" ({self.dearer:.2f}x), MiB {memory}"
        )

    def broken(self, run: str, *, most: float, most_mib: float) -> list[Violation]:
        """Where it is not flat: beyond `most` times the time or the processor, or more memory than that in one process."""
        found = [
            Violation("flat", run, f"the last cost {ratio:.2f} times the {what} of the first")
            for what, ratio in (("time", self.slower), ("processor", self.dearer))
            if ratio > most
        ]
        return found + [
            Violation("flat", run, f"{name} grew by {grown:.0f} MiB")
            for name, grown in self.grown.items()
            if grown > most_mib and name in ("api", "workers")
        ]


def stretch(looks: Sequence[Sample], count: int) -> Stretch:
    """Of so many at the beginning, and as many at the end."""
    begin, end = looks[0], looks[-1]
    early = next(one for one in looks if one.done >= begin.done + count)
    late = next(one for one in looks if one.done >= end.done - count)
    return Stretch(
        _cost(begin, early),
        _cost(late, end),
        {name: end.memory[name] - mib for name, mib in early.memory.items()},
        end.memory,
    )


def _cost(begin: Sample, end: Sample) -> Cost:
    number = max(1, end.done - begin.done)
    return Cost(
        (end.at - begin.at) / number * 1000,
        {name: (end.cpu[name] - cpu) / number * 1000 for name, cpu in begin.cpu.items()},
    )


@dataclass(frozen=True, slots=True)
class History:
    """What Temporal keeps of a run, all its executions together."""

    executions: int
    events: int
    size: int

    def text(self, steps: int) -> str:
        return (
            f"history {self.size / steps:.0f} bytes and {self.events / steps:.1f} events each"
            f" in {self.executions} executions"
        )


async def history_of(ground: Ground, run: str) -> History:
    """Of a run of the first tenant."""
    client = await connect(ground.settings())
    name = run_workflow_id(RunRef(ground.tenant.cluster_id, run))
    sizes: list[tuple[int, int]] = []
    async for execution in client.list_workflows(f'WorkflowId = "{name}"'):
        handle = client.get_workflow_handle(name, run_id=execution.run_id)
        info = (await handle.describe()).raw_description.workflow_execution_info
        sizes.append((info.history_length, info.history_size_bytes))
    return History(len(sizes), sum(n for n, _ in sizes), sum(size for _, size in sizes))


def percentile(values: Iterable[float], percent: int) -> float:
    """Of at least two values."""
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def milliseconds(values: Sequence[float]) -> str:
    """Median, 95th percentile and most of these seconds."""
    middle, high = (percentile(values, percent) * 1000 for percent in (50, 95))
    return f"p50 {middle:.0f}, p95 {high:.0f}, most {max(values) * 1000:.0f} ms"


async def idle(ground: Ground, seconds: float) -> Mapping[str, float]:
    """Percent of one core that each process takes while nothing is asked of it."""
    before = sample(ground)
    await asyncio.sleep(seconds)
    after = sample(ground)
    passed = after.at - before.at
    return {name: (after.cpu[name] - cpu) / passed * 100 for name, cpu in before.cpu.items()}


def percents(taken: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {percent:.1f} %" for name, percent in taken.items())
