"""Functions that harm their own process, beside one that does its work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import JsonValue

from orchestrator.rules.crash_loop import CrashLoopBackoff
from perdure.contract import ResultType
from tests.faults.checker.evidence import Evidence, gather
from tests.faults.checker.invariants import Violation
from tests.faults.checker.outcome import Outcome, judge
from tests.faults.ground.ground import Ground, laid_out
from tests.faults.ground.load import Scale, all_delivered, begin, ended

POISONS: Mapping[str, int] = {
    "raises": 2,
    "exits": 2,
    "segfaults": 2,
    "eats": 1,
    "hangs": 1,
}
"""Function -> attempts that must be recorded: its retries and one."""
_POLL_SECONDS = 0.2
_CRASHES = 2
"""Calls, one after the other, of a function that ends its process each time."""
_INACCURACY = 0.2
"""Seconds by which a death may be noted before the function's own time of it: other clocks are read."""


async def poison(
    folder: Path, scale: Scale, *, hosted: bool = False, database_url: str = ""
) -> Outcome:
    """Each poison in a run of its own, one again and again: the model gets the error, attempts are counted, others come through."""
    async with (
        laid_out(folder, hosted=hosted, database_url=database_url) as ground,
        _keeping_alive(ground),
        ground.client() as client,
    ):
        await begin(ground, client, scale, prefix="good")
        for name in POISONS:
            await ground.create(client, name, steps=1, function=name)
        await ground.create(client, "loop", steps=_CRASHES, function="exits")
        given: dict[str, JsonValue] = {"gigabytes": scale.printed_gigabytes}
        await ground.create(client, "prints", steps=1, function="prints", input=given)
        await ended(ground, client)
        await all_delivered(ground)
        starts = len(ground[ground.host].pids)
        evidence = await gather(ground)
    note = f"{starts - 1} restarts of the process that runs them"
    more = _undelivered(evidence)
    if not hosted:
        return judge("poison functions", evidence, note=note, more=more)
    deaths = _deaths(evidence)
    note += f", {len(deaths)} of them by the function that exits"
    return judge("poison functions, hosted", evidence, note=note, more=[*more, *_loops(deaths)])


@asynccontextmanager
async def _keeping_alive(ground: Ground) -> AsyncGenerator[None]:
    """Start the process that runs the functions again when it died, as whoever runs it in earnest would."""

    async def keep() -> None:
        process = ground[ground.host]
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            if not process.is_alive():
                ground.dead.add(process.pid)
                process.launch()

    keeper = asyncio.create_task(keep())
    try:
        yield
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)


def _undelivered(evidence: Evidence) -> list[Violation]:
    """Each poisoned call was a rejection in the end, after as many attempts as it may have."""
    found: list[Violation] = []
    for name, attempts in POISONS.items():
        (call,) = [c for c in evidence.of(evidence.calls, name) if c["kind"] == "function"]
        if call["result_type"] != ResultType.REJECTION.value:
            found.append(Violation("on_status", name, f"its result is a {call['result_type']}"))
        if call["attempts"] != attempts:
            found.append(Violation("attempts", name, f"{call['attempts']} attempts are recorded"))
    loop = [c for c in evidence.of(evidence.calls, "loop") if c["kind"] == "function"]
    if [call["attempts"] for call in loop] != [POISONS["exits"]] * _CRASHES:
        found.append(Violation("attempts", "loop", "a crash loop was not ended call by call"))
    return found


def _deaths(evidence: Evidence) -> list[float]:
    """When processes ended by `exits`, in seconds."""
    calls = {call["id"] for call in evidence.calls if call["function"] == "exits"}
    last: dict[int, int] = {}
    for line in evidence.diary:
        if line["kind"] == "begun" and line["call"] in calls:
            last[line["pid"]] = line["at"]
    return sorted(at / 1000 for at in last.values())


def _loops(deaths: list[float]) -> list[Violation]:
    """Hosted, the function never begins while it has to pause: its crash loop is broken however many call it."""
    found: list[Violation] = []
    backoff = CrashLoopBackoff()
    for at in deaths:
        if backoff.pause_left(at) > _INACCURACY:
            early = f"it began {backoff.pause_left(at):.1f} s before its pause was over"
            found.append(Violation("pauses", "exits", early))
        backoff = backoff.after_death(at)
    return found
