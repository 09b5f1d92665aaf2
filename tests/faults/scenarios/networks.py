"""Links between the parts that hold, reset and delay what passes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.faults.checker.outcome import Outcome
from tests.faults.ground.ground import Ground, laid_out
from tests.faults.ground.links import Link, Mode
from tests.faults.ground.load import Scale, a_moment, begin, concluded, keep_busy, seconds_back
from tests.faults.ground.postgres import killable_postgres

LINKS = (
    "client to API",
    "function worker to API",
    "API to Temporal",
    "Temporal worker to Temporal",
    "all to PostgreSQL",
)
_HELD_SECONDS = 4.0


async def bad_link(which: str, folder: Path, scale: Scale) -> Outcome:
    """One link is held, refuses, is reset again and again, and is slow, one after the other, under runs."""
    if which.endswith("PostgreSQL"):
        return await _bad_database_link(which, folder, scale)
    async with laid_out(folder, parts=()) as ground:
        temporal = int(ground.temporal_address.rpartition(":")[2])
        upstream = temporal if which.endswith("Temporal") else int(ground.url.rpartition(":")[2])
        async with Link([upstream]).open() as link:
            await _start(ground, which, link)
            return await _under_runs(ground, which, link, scale)


async def _bad_database_link(which: str, folder: Path, scale: Scale) -> Outcome:
    with killable_postgres() as postgres:
        async with (
            Link([postgres.socket]).open() as link,
            laid_out(folder, database_url=postgres.url, parts=()) as ground,
        ):
            through = {"PERDURE_DATABASE_URL": postgres.url_through(link.address)}
            await ground["api"].start(**through)
            await ground["workers"].start(**through)
            await ground["functions"].start()
            return await _under_runs(ground, which, link, scale)


async def _under_runs(ground: Ground, which: str, link: Link, scale: Scale) -> Outcome:
    async with ground.client() as client:
        await begin(ground, client, scale)
        back: list[float] = []
        for mode in (Mode.HOLD, Mode.REFUSE):
            await keep_busy(ground, client, scale)
            back.append(await _through(ground, link, mode))
        await keep_busy(ground, client, scale)
        for _ in range(scale.kills):
            await a_moment(ground)
            link.reset()
        link.set(Mode.DELAY)
        await asyncio.sleep(_HELD_SECONDS)
        link.set(Mode.PASS)
        note = f"held and refused {_HELD_SECONDS:g} s each, reset {scale.kills} times, slow"
        return await concluded(f"link {which}", ground, client, back=max(back), note=note)


async def _through(ground: Ground, link: Link, mode: Mode) -> float:
    """The link is in this mode for a while; seconds until anything moves on after it."""
    await a_moment(ground)
    link.set(mode)
    await asyncio.sleep(_HELD_SECONDS)

    async def heal() -> None:
        link.set(Mode.PASS)

    return await seconds_back(ground, heal)


async def _start(ground: Ground, which: str, link: Link) -> None:
    through = {"PERDURE_TEMPORAL_ADDRESS": link.address}
    await ground["api"].start(**(through if which == "API to Temporal" else {}))
    await ground["workers"].start(**(through if which.startswith("Temporal worker") else {}))
    by_link = {"PERDURE_URL": f"http://{link.address}"}
    await ground["functions"].start(**(by_link if which.startswith("function") else {}))
    if which.startswith("client"):
        ground.url = f"http://{link.address}"
