"""Runs under way while something goes wrong, and how long it takes until they go on."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from orchestrator.rules.lifecycle import is_final
from orchestrator.runtime.clock import now_ms
from perdure import AsyncPerdure, RunCancelledError
from perdure.contract import RunStatus
from tests.faults.checker.evidence import gather, of_store
from tests.faults.checker.invariants import Violation
from tests.faults.checker.outcome import Outcome, judge
from tests.faults.ground.ground import Ground
from tests.support.running_stack import until


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is done: so many runs of so many steps at once, and so many kills of each process."""

    runs: int = 8
    steps: int = 6
    kills: int = 2
    away_seconds: float = 15.0
    """How long Temporal is away, where it is away for long."""
    printed_gigabytes: float = 0.05
    """How much a function prints that prints too much."""
    back_seconds: float = 10.0
    """How long after the return of a process that was killed nothing may move."""
    seed: int = 0
    """Of what is left to chance; 0: another one each time."""


FULL = Scale(
    runs=40,
    steps=15,
    kills=4,
    away_seconds=60.0,
    printed_gigabytes=1.0,
    back_seconds=3.0,
)
"""What the promise is about."""


_MODEL_MS = 250
_FUNCTION_MS = 150
_END_SECONDS = 240.0
"""Much longer than all runs take together: a machine may be busy with other things."""
_DELIVERY_SECONDS = 60.0
_BACK_SECONDS = 60.0


async def begin(ground: Ground, client: AsyncPerdure, scale: Scale, prefix: str = "run") -> None:
    """Create the runs; each step takes a moment in the model and in the function."""
    given = {"milliseconds": _FUNCTION_MS}
    await asyncio.gather(
        *(
            ground.create(
                client,
                f"{prefix}-{number}",
                steps=scale.steps,
                delayMs=_MODEL_MS,
                input=dict(given),
            )
            for number in range(scale.runs)
        )
    )


async def keep_busy(ground: Ground, client: AsyncPerdure, scale: Scale) -> None:
    """There is something to disturb: as many runs again where all have come to their end."""
    if await is_over(ground):
        await begin(ground, client, scale, prefix=f"wave-{len(ground.acknowledged)}")


async def ended(ground: Ground, client: AsyncPerdure) -> None:
    """Every acknowledged run of the client's cluster has come to its end."""

    async def end(name: str) -> None:
        with suppress(RunCancelledError):
            await (await client.get_run(name)).poll(timeout=_END_SECONDS)

    own = await client.cluster_id()
    await asyncio.gather(
        *(end(name) for name, cluster in ground.acknowledged.items() if cluster == own)
    )


async def all_delivered(ground: Ground) -> None:
    """Every transition was delivered, or is not going to be."""
    deadline = time.monotonic() + _DELIVERY_SECONDS
    while time.monotonic() < deadline:
        evidence = await of_store(ground.database_url, ground.acknowledged)
        if all(row["status"] != "pending" for row in evidence.deliveries):
            return
        await asyncio.sleep(0.3)


async def seconds_back(ground: Ground, bring_back: Callable[[], Awaitable[object]]) -> float:
    """Bring a process back; seconds from then until anything moves on, none where nothing is left to be done."""
    await bring_back()
    ground.returns.append(now_ms())
    began, before = time.monotonic(), ground.progress()
    while not await is_over(ground):
        with suppress(AssertionError):
            await until(lambda: ground.progress() > before, seconds=1)
            return time.monotonic() - began
        assert time.monotonic() - began < _BACK_SECONDS, "nothing goes on"
    return 0.0


async def a_moment(ground: Ground) -> None:
    """Until something has happened, if anything is still to happen, and then a random moment more."""
    before = ground.progress()
    with suppress(AssertionError):
        await until(lambda: ground.progress() > before, seconds=20)
    await asyncio.sleep(random.uniform(0.3, 2.5))  # noqa: S311 - no secret


async def is_over(ground: Ground) -> bool:
    """Whether every run has come to its end, so that nothing can be disturbed."""
    evidence = await of_store(ground.database_url, ground.acknowledged)
    return all(is_final(RunStatus(row["status"])) for row in evidence.runs)


async def concluded(
    name: str,
    ground: Ground,
    client: AsyncPerdure,
    *,
    back: float | None = None,
    back_within: float | None = None,
    note: str = "",
    more: Iterable[Violation] = (),
) -> Outcome:
    """Wait for the end of all runs, and until their handlers have heard of it, and have the checker look."""
    await ended(ground, client)
    await all_delivered(ground)
    evidence = await gather(ground)
    return judge(name, evidence, back=back, back_within=back_within, note=note, more=more)
