"""Functions that harm their own process, beside one that does its work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import JsonValue

from perdure.contract import ResultType
from tests.faults.evidence import Evidence, gather
from tests.faults.ground import Ground, laid_out
from tests.faults.invariants import Violation
from tests.faults.load import Scale, all_told, begin, ended
from tests.faults.outcome import Outcome, judge

POISONS: Mapping[str, int] = {
    "raises": 2,
    "exits": 2,
    "segfaults": 2,
    "eats": 1,
    "hangs": 1,
}
"""Function -> attempts that must be recorded: its retries and one."""
_LOOK_EVERY = 0.2


async def poison(folder: Path, scale: Scale) -> Outcome:
    """Each poison in a run of its own: the model is told, attempts are counted, and other runs come through."""
    async with laid_out(folder) as ground, _kept_alive(ground), ground.client() as client:
        await begin(ground, client, scale, prefix="good")
        for name in POISONS:
            await ground.create(client, name, steps=1, function=name)
        given: dict[str, JsonValue] = {"gigabytes": scale.printed_gigabytes}
        await ground.create(client, "prints", steps=1, function="prints", input=given)
        await ended(ground, client)
        await all_told(ground)
        starts = len(ground["functions"].pids)
        evidence = await gather(ground)
    note = f"{starts - 1} restarts of the function worker"
    return judge("poison functions", evidence, note=note, more=_untold(evidence))


@asynccontextmanager
async def _kept_alive(ground: Ground) -> AsyncGenerator[None]:
    """Start the function worker again when it died, as whoever runs it in earnest would."""

    async def keep() -> None:
        process = ground["functions"]
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            if not process.is_alive():
                ground.dead.add(process.pid)
                process.launch()

    keeper = asyncio.create_task(keep())
    try:
        yield
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)


def _untold(evidence: Evidence) -> list[Violation]:
    """Each poisoned call was a rejection in the end, after as many attempts as it may have."""
    found: list[Violation] = []
    for name, attempts in POISONS.items():
        (call,) = [c for c in evidence.of(evidence.calls, name) if c["kind"] == "function"]
        if call["result_type"] != ResultType.REJECTION.value:
            found.append(Violation("told", name, f"its result is a {call['result_type']}"))
        if call["attempts"] != attempts:
            found.append(Violation("attempts", name, f"{call['attempts']} attempts are recorded"))
    return found
