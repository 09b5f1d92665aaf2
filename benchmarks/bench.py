"""What every section is given: the stack, the sides, how much to measure, and where figures go."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from temporalio.client import Client

from benchmarks.report.figures import Report, Sheet
from benchmarks.sides.sides import PerdureSide, RawSide, Side, wait_for_service
from benchmarks.sides.stack import Stack
from perdure import AsyncPerdure


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured."""

    rounds: int = 7
    rate_rounds: int = 3
    concurrent: tuple[int, ...] = (50, 200)
    peers: bool = True
    peer_rounds: int = 4
    long_steps: int = 420
    long_repeats: int = 2
    longest_steps: int = 1_000
    latency_samples: int = 80
    counted_runs: int = 10
    thinking_steps: int = 6
    starts: int = 5
    section_seconds: float = 150.0
    """No round of a section begins later."""


QUICK = Plan(
    rounds=2,
    rate_rounds=1,
    concurrent=(50,),
    peers=False,
    peer_rounds=1,
    long_steps=120,
    long_repeats=1,
    longest_steps=0,
    latency_samples=15,
    counted_runs=3,
    thinking_steps=0,
    starts=1,
    section_seconds=40.0,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One stack that is measured."""

    plan: Plan
    report: Report
    stack: Stack
    temporal: Client
    client: AsyncPerdure
    raw: RawSide
    http: PerdureSide
    hosted: PerdureSide
    has_hosted: bool

    @property
    def sides(self) -> list[Side]:
        """Everybody who is there."""
        return [self.raw, *self.ours]

    @property
    def ours(self) -> list[PerdureSide]:
        """Perdure with the function in a process of its own, and hosted."""
        return [self.http, self.hosted] if self.has_hosted else [self.http]

    def sheet(self, section: str) -> Sheet:
        """Where a section puts its figures."""
        return self.report.sheet(section, self.stack.store)


def suffix(side: Side) -> str:
    """What a figure of Perdure's is called when the function is hosted."""
    return "_hosted" if side.name == "hosted" else ""


@asynccontextmanager
async def bench_of(stack: Stack, plan: Plan, report: Report) -> AsyncGenerator[Bench]:
    """The sides on that stack, each warmed up."""
    temporal = await Client.connect(stack.temporal_address)
    async with AsyncPerdure(
        url=stack.url, api_key=stack.api_key, cluster_id=stack.cluster_id
    ) as client:
        if not await wait_for_service(stack, "bench"):
            raise RuntimeError("the benchmark's function worker did not register")
        bench = Bench(
            plan=plan,
            report=report,
            stack=stack,
            temporal=temporal,
            client=client,
            raw=RawSide(temporal),
            http=PerdureSide("perdure", client, stack, "bench"),
            hosted=PerdureSide("hosted", client, stack, "bench_hosted"),
            has_hosted=await wait_for_service(stack, "bench_hosted", 5),
        )
        if not bench.has_hosted:
            bench.sheet("stack").fail("hosted", "no service bench_hosted: functions are not hosted")
        for side in bench.sides * 3:
            await side.play(3)
        yield bench
