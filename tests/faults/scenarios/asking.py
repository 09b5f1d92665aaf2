"""Runs that are asked for something while processes are killed at random: follow-ups, edits, cancels, decisions."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from pathlib import Path

from perdure.contract import RunStatus
from tests.faults.checker.evidence import gather
from tests.faults.checker.outcome import Outcome, judge
from tests.faults.checker.request_rules import CANCELLED
from tests.faults.ground.ground import Ground, laid_out
from tests.faults.ground.load import Scale, all_delivered, begin, ended
from tests.faults.requests import Person, by_chance, deciding
from tests.faults.scenarios.kills import at_random, kill

_CAREFUL_STEPS = 3
_FOLLOW_UPS = 3


async def requests_under_kills(folder: Path, scale: Scale, *, hosted: bool = False) -> Outcome:
    """A quarter of the runs is talked to, one is cancelled, one asks for approvals, one is left alone."""
    quarter = replace(scale, runs=max(1, scale.runs // 4))
    async with laid_out(folder, hosted=hosted) as ground, ground.client() as client:
        for prefix in ("talk", "stop", "calm"):
            await begin(ground, client, quarter, prefix=prefix)
        for number in range(quarter.runs):
            await ground.create(
                client, f"careful-{number}", steps=_CAREFUL_STEPS, function="careful"
            )
        person = Person(ground, client)
        async with deciding(person, by_chance):
            asking = asyncio.create_task(_ask(person, quarter.runs))
            back = await kill(ground, client, quarter, at_random(scale, hosted=hosted))
            await asking
            await ended(ground, client)
        await all_delivered(ground)
        evidence = await gather(ground)
    return judge(
        f"requests under kill -9 at random{', functions hosted' if hosted else ''}",
        evidence,
        back=max(back),
        back_within=scale.back_seconds,
        note=f"{len(back)} kills, {len(evidence.requests)} requests",
        ends=_ends(ground),
    )


def _ends(ground: Ground) -> dict[str, RunStatus]:
    return {w["run"]: RunStatus.CANCELLED for w in ground.requests if w["kind"] == CANCELLED}


async def _ask(person: Person, runs: int) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(runs):
            group.create_task(_talk(person, f"talk-{number}"))
            group.create_task(_stop(person, f"stop-{number}"))


async def _talk(person: Person, run: str) -> None:
    """Follow-ups while it works and after it has ended, and the last one said otherwise."""
    message_id = ""
    for number in range(_FOLLOW_UPS):
        await _a_while()
        message_id = await person.send(run, f"follow-up {number} of {run}")
    await _a_while()
    await person.edit(run, message_id, f"the last word in {run}")


async def _stop(person: Person, run: str) -> None:
    await _a_while()
    await person.cancel(run)


async def _a_while() -> None:
    await asyncio.sleep(random.uniform(0.2, 5.0))  # noqa: S311 - no secret
