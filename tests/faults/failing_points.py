"""Every fail-point, on one stack: a process is killed at each, by itself, with a run or two in that very place."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path

from orchestrator.runtime.failpoints import Point
from perdure import AsyncPerdure
from tests.faults.checker.evidence import gather
from tests.faults.checker.outcome import Outcome, judge
from tests.faults.ground.ground import Ground, laid_out
from tests.faults.ground.load import all_delivered
from tests.faults.requests import Person, always, deciding

API_POINTS = (
    Point.CALL_WAITING,  # first: its calls come back only after a missed heartbeat
    Point.RESULT_ACCEPTED,
    Point.REQUEST_ACCEPTED,
    Point.ROW_WRITTEN,
    Point.WORKFLOW_STARTED,
    Point.REQUEST_WRITTEN,
)
WORKER_POINTS = (
    Point.MODEL_CALL_IN_FLIGHT,
    Point.MODEL_ANSWERED,
    Point.WAITING_FOR_APPROVAL,
    Point.RESULT_NOT_DELIVERED,
)
FUNCTION_POINTS = ("executing", "done")
POINTS = (*API_POINTS, *WORKER_POINTS, *(f"function-{point}" for point in FUNCTION_POINTS))
_PERSONAL = {Point.WAITING_FOR_APPROVAL, Point.REQUEST_WRITTEN}
_SECONDS = 90.0


async def fail_at_every_point(
    folder: Path, *, runs: int = 1, database_url: str = ""
) -> dict[str, Outcome]:
    """Kill at each point in turn, then let everything end; an outcome per point."""
    parts = ("api", "functions")
    async with laid_out(folder, database_url=database_url, parts=parts) as ground:
        async with ground.client() as client:
            await _fail(ground, client, runs)
        await all_delivered(ground)
        evidence = await gather(ground)
    return {
        point: judge(f"killed at {point}", evidence, only=_names(point, runs)) for point in POINTS
    }


async def _fail(ground: Ground, client: AsyncPerdure, runs: int) -> None:
    """Each process in turn is armed, given runs, and replaced by one that is armed for the next point."""
    for point in WORKER_POINTS:
        await ground["workers"].start(**_armed(ground, point))
        await asyncio.gather(*_created(ground, client, point, runs))
        await _dies(ground, "workers")
    await ground["workers"].start()
    for place in FUNCTION_POINTS:
        ground.kill("functions")
        await ground["functions"].start(**_armed_function(ground, place))
        ground.dead.add(ground["functions"].pid)
        await asyncio.gather(*_created(ground, client, f"function-{place}", runs))
        await _dies(ground, "functions")
    await ground["functions"].start()
    created: list[asyncio.Task[None]] = []
    ground["api"].kill()
    for point in API_POINTS:
        await ground["api"].start(**_armed(ground, point))
        created += _created(ground, client, point, runs)
        async with _asking(ground, client, point):
            await _dies(ground, "api")
    await ground["api"].start()
    await asyncio.gather(*created)
    await _ended(ground, client)


def _armed(ground: Ground, point: Point) -> dict[str, str]:
    once = ground.folder / f"{point}.once"
    return {"PERDURE_FAIL_AT": point.value, "PERDURE_FAIL_ONCE_FILE": str(once)}


def _armed_function(ground: Ground, place: str) -> dict[str, str]:
    once = ground.folder / f"function-{place}.once"
    return {"PERDURE_TEST_DIE_AT": place, "PERDURE_TEST_DIE_ONCE": str(once)}


async def _dies(ground: Ground, name: str) -> None:
    """The process ends itself, by SIGKILL and by nothing else."""
    assert await ground[name].died(seconds=_SECONDS) == -signal.SIGKILL


def _asking(
    ground: Ground, client: AsyncPerdure, point: Point
) -> AbstractAsyncContextManager[None]:
    """Somebody decides on what waits for a person, where that is what the point is about."""
    if point is not Point.REQUEST_WRITTEN:
        return nullcontext()
    return deciding(Person(ground, client), always, whose=point)


def _names(point: str, runs: int) -> list[str]:
    return [f"{point}-{number}" for number in range(runs)]


def _created(
    ground: Ground, client: AsyncPerdure, point: str, runs: int
) -> list[asyncio.Task[None]]:
    function = "careful" if point in _PERSONAL else "work"

    async def create(name: str) -> None:
        await ground.create(client, name, steps=2, function=function)

    return [asyncio.create_task(create(name)) for name in _names(point, runs)]


async def _ended(ground: Ground, client: AsyncPerdure) -> None:
    async with deciding(Person(ground, client), always):
        for name in ground.acknowledged:
            await (await client.get_run(name)).poll(timeout=_SECONDS)
