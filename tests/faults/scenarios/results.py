"""Results of every size, and what they do to the API."""

from __future__ import annotations

from pathlib import Path

from perdure import AsyncPerdure
from perdure.contract import MAX_RESULT_BYTES, MessageType
from tests.faults.checker.evidence import gather
from tests.faults.checker.invariants import Violation
from tests.faults.checker.outcome import Outcome, judge
from tests.faults.ground.ground import laid_out
from tests.faults.ground.load import Scale, all_delivered, ended
from tests.faults.ground.processes import resident_mib

SIZES = {"11kB": 11_000, "1MB": 1_000_000, "10MB": 10_000_000, "100MB": 100_000_000}
_ROUNDS = 4
_MOST_GROWTH = 20.0
"""MiB by which the API may be larger after the last round than after the second, when every path was taken."""
_SHOWN = 12_000
"""Characters of a result that the model is shown at most."""


async def large_results(folder: Path, scale: Scale) -> Outcome:
    """Each size four times: kept whole and shown in brief, or refused with the limit; rounds do not add up in memory."""
    async with laid_out(folder) as ground, ground.client() as client:
        resident: list[float] = []
        for round_number in range(_ROUNDS):
            for name, size in SIZES.items():
                await ground.create(
                    client,
                    f"{name}-{round_number}",
                    steps=1,
                    function="returns",
                    input={"size": size},
                )
                await ended(ground, client)
            resident.append(resident_mib(ground["api"].pid))
        await all_delivered(ground)
        more = [
            violation
            for name in ground.acknowledged
            for violation in await _wrong_for_model(client, name)
        ]
        evidence = await gather(ground)
    growth = resident[-1] - resident[1]
    if growth > _MOST_GROWTH:
        more.append(Violation("memory", "", f"the API grew by {growth:.0f} MiB"))
    note = f"API after each round, MiB: {', '.join(f'{one:.0f}' for one in resident)}"
    return judge("results of 11 kB to 100 MB", evidence, note=note, more=more)


async def _wrong_for_model(client: AsyncPerdure, name: str) -> list[Violation]:
    """What the model was shown of the run's one result."""
    messages = await (await client.get_run(name)).messages()
    (shown,) = [one.data for one in messages if one.type is MessageType.INVOCATION_RESULT]
    size, said = SIZES[name.partition("-")[0]], str(shown["result"])
    if len(said) > _SHOWN:
        return [Violation("shown", name, f"the model was shown {len(said)} characters")]
    if size > MAX_RESULT_BYTES:
        refused = shown["resultType"] == "rejection" and f"{MAX_RESULT_BYTES:,}" in said
        return [] if refused else [Violation("shown", name, f"no limit is stated: {said[:200]}")]
    if f"{size} characters" not in said:
        return [Violation("shown", name, f"does not say how long it is: {said[:200]}")]
    return []
