"""Processes killed under runs that are under way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.store.calls.rows import HEARTBEAT_TIMEOUT
from perdure import AsyncPerdure
from perdure.dev.ports import free_port
from tests.faults.checker.invariants import Violation
from tests.faults.checker.outcome import Outcome
from tests.faults.ground.ground import Ground, laid_out, temporal_serves
from tests.faults.ground.links import Link
from tests.faults.ground.load import Scale, a_moment, begin, concluded, keep_busy, seconds_back
from tests.faults.ground.postgres import killable_postgres

_ROLLED_OVER = 16
"""Runs that are long instead of many: each is to see every restart."""
VICTIMS = ("temporal", "api", "workers", "functions")


async def kill_each_time(victim: str, folder: Path, scale: Scale) -> Outcome:
    """One process is killed again and again."""
    async with laid_out(folder) as ground, ground.client() as client:
        await begin(ground, client, scale)
        back = await kill(ground, client, scale, [victim] * scale.kills)
        return await killed(f"kill -9 {victim}", ground, client, scale, back)


async def kill_at_random(
    folder: Path, scale: Scale, *, hosted: bool = False, database_url: str = ""
) -> Outcome:
    """Whichever it hits."""
    async with (
        laid_out(folder, hosted=hosted, database_url=database_url) as ground,
        ground.client() as client,
    ):
        await begin(ground, client, scale)
        back = await kill(ground, client, scale, at_random(scale, hosted=hosted))
        name = "kill -9 at random, functions hosted" if hosted else "kill -9 at random"
        return await killed(name, ground, client, scale, back)


async def kill_hosting_workers(folder: Path, scale: Scale) -> Outcome:
    """The Temporal worker is killed with functions at work in it."""
    async with laid_out(folder, hosted=True) as ground, ground.client() as client:
        await begin(ground, client, scale)
        back = await kill(ground, client, scale, ["workers"] * scale.kills)
        return await killed("kill -9 workers, functions hosted", ground, client, scale, back)


def at_random(scale: Scale, *, hosted: bool = False) -> list[str]:
    """Twice as many victims as one process alone would be; with functions hosted there is no function worker."""
    victims = VICTIMS[:-1] if hosted else VICTIMS
    return random.choices(victims, k=scale.kills * 2)  # noqa: S311 - no secret


async def kill_postgres(folder: Path, scale: Scale) -> Outcome:
    """The database is killed."""
    with killable_postgres() as postgres:
        async with (
            laid_out(folder, database_url=postgres.url) as ground,
            ground.client() as client,
        ):
            await begin(ground, client, scale)
            back: list[float] = []
            for _ in range(scale.kills):
                await keep_busy(ground, client, scale)
                await a_moment(ground)
                await postgres.kill()
                back.append(await seconds_back(ground, postgres.start))
            return await killed("kill -9 PostgreSQL", ground, client, scale, back)


async def roll_over(folder: Path, scale: Scale) -> Outcome:
    """Two APIs behind one address and three Temporal workers are replaced one after the other, as a deployment does.

    Whoever is asked to end loses nothing: no run waits for a heartbeat that was missed.
    """
    ports = (free_port(), free_port())
    async with Link(ports).open() as front, laid_out(folder, parts=()) as ground:
        ground.url = f"http://{front.address}"
        for number, port in enumerate(ports):
            await ground.add_api(f"api-{number}", port).start()
        for number in range(3):
            await ground.add_workers(f"workers-{number}").start()
        await ground.add_functions().start()
        async with ground.client() as client:
            long = replace(scale, runs=min(scale.runs, _ROLLED_OVER), steps=scale.steps * 3)
            await begin(ground, client, long)
            names = [name for name in ground.processes if "-" in name]
            for name in names:
                await a_moment(ground)
                await asyncio.to_thread(ground[name].stop)
                await ground[name].start()
            return _without_loss(
                await concluded("rolling restarts", ground, client, note=f"{len(names)} restarts")
            )


def _without_loss(outcome: Outcome) -> Outcome:
    if outcome.pause is None or outcome.pause < HEARTBEAT_TIMEOUT:
        return outcome
    lost = Violation("lost on the way", "", f"a run stood still for {outcome.pause:.1f} s")
    return replace(outcome, violations=(*outcome.violations, lost))


async def kill(
    ground: Ground, client: AsyncPerdure, scale: Scale, victims: Sequence[str]
) -> list[float]:
    """Kill one after the other under runs, more of them where the first are over; how long each was felt."""
    back: list[float] = []
    for victim in victims:
        await keep_busy(ground, client, scale)
        await a_moment(ground)
        ground.kill(victim)
        back.append(await seconds_back(ground, _return_of(ground, victim)))
    return back


async def killed(
    name: str, ground: Ground, client: AsyncPerdure, scale: Scale, back: list[float]
) -> Outcome:
    """The outcome of kills, each felt for so long."""
    return await concluded(
        name,
        ground,
        client,
        back=max(back, default=None),
        back_within=scale.back_seconds,
        note=f"{len(back)} kills",
    )


def _return_of(ground: Ground, victim: str) -> Callable[[], Awaitable[object]]:
    async def bring_back() -> None:
        await ground[victim].start()
        if victim == "temporal":
            await temporal_serves(ground.temporal_address)

    return bring_back
