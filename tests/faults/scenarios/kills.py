"""Processes killed under runs that are under way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.store.call_rows import HEARTBEAT_TIMEOUT
from perdure.dev.ports import free_port
from tests.faults.evidence import of_store
from tests.faults.ground import Ground, laid_out, temporal_serves
from tests.faults.invariants import Violation
from tests.faults.links import Link
from tests.faults.load import (
    Scale,
    a_moment,
    begin,
    concluded,
    is_over,
    longest_pause,
    seconds_back,
)
from tests.faults.outcome import Outcome
from tests.faults.postgres import killable_postgres

VICTIMS = ("temporal", "api", "workers", "functions")


async def kill_each_time(victim: str, folder: Path, scale: Scale) -> Outcome:
    """One process is killed again and again."""
    async with laid_out(folder) as ground, ground.client() as client:
        await begin(ground, client, scale)
        back = await _kill(ground, [victim] * scale.kills)
        return await concluded(
            f"kill -9 {victim}", ground, client, back=max(back, default=None), note=_said(back)
        )


async def kill_at_random(folder: Path, scale: Scale) -> Outcome:
    """Whichever it hits."""
    async with laid_out(folder) as ground, ground.client() as client:
        await begin(ground, client, scale)
        victims = random.choices(VICTIMS, k=scale.kills * 2)  # noqa: S311 - no secret
        back = await _kill(ground, victims)
        return await concluded(
            "kill -9 at random", ground, client, back=max(back, default=None), note=_said(back)
        )


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
                await a_moment(ground)
                await postgres.kill()
                back.append(await seconds_back(ground, postgres.start))
            return await concluded(
                "kill -9 PostgreSQL", ground, client, back=max(back, default=None), note=_said(back)
            )


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
            await begin(ground, client, replace(scale, steps=scale.steps * 3))
            names = [name for name in ground.processes if "-" in name]
            for name in names:
                await a_moment(ground)
                await asyncio.to_thread(ground[name].stop)
                await ground[name].start()
            outcome = await concluded(
                "rolling restarts", ground, client, note=f"{len(names)} restarts"
            )
            evidence = await of_store(ground.database_url, ground.acknowledged)
            return _without_loss(outcome, longest_pause(evidence))


def _without_loss(outcome: Outcome, pause: float) -> Outcome:
    if pause < HEARTBEAT_TIMEOUT:
        return outcome
    lost = Violation("lost on the way", "", f"a run stood still for {pause:.1f} s")
    return replace(outcome, violations=(*outcome.violations, lost))


async def _kill(ground: Ground, victims: Sequence[str]) -> list[float]:
    """Kill one after the other while there is something to disturb; how long each was felt after its return."""
    back: list[float] = []
    for victim in victims:
        await a_moment(ground)
        if victim == "functions":
            ground.kill_functions()
        else:
            ground[victim].kill()
        back.append(await seconds_back(ground, _return_of(ground, victim)))
        if await is_over(ground):
            break
    return back


def _return_of(ground: Ground, victim: str) -> Callable[[], Awaitable[object]]:
    async def bring_back() -> None:
        await ground[victim].start()
        if victim == "temporal":
            await temporal_serves(ground.temporal_address, ground.environment)

    return bring_back


def _said(back: list[float]) -> str:
    return f"{len(back)} kills"
