"""Two tenants at work at the same time, on one stack, with function workers of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from perdure import AsyncPerdure, NotFoundError
from tests.faults.checker.invariants import Violation
from tests.faults.checker.outcome import Outcome
from tests.faults.ground.ground import Ground, laid_out
from tests.faults.ground.load import Scale, begin, ended
from tests.faults.scenarios.kills import at_random, kill, killed

_OTHERS = "functions-of-the-other"


async def two_tenants(folder: Path, scale: Scale) -> Outcome:
    """Each has half of the runs and a function worker; whatever is killed, nobody is given what is the other's."""
    half = replace(scale, runs=max(1, scale.runs // 2))
    async with (
        laid_out(folder) as ground,
        ground.client() as client,
        ground.client(ground.other) as other,
    ):
        await ground.add_functions(_OTHERS, tenant=ground.other).start()
        await begin(ground, client, half)
        await begin(ground, other, half, prefix="other")
        back = await kill(ground, client, half, [*at_random(scale), _OTHERS])
        await ended(ground, other)
        outcome = await killed("two tenants, kill -9 at random", ground, client, scale, back)
        more = [*await _seen(ground, client, "other-0"), *await _seen(ground, other, "run-0")]
        return replace(outcome, violations=(*outcome.violations, *more))


async def _seen(ground: Ground, client: AsyncPerdure, run: str) -> list[Violation]:
    """What a tenant learns of a run of the other one: that there is none."""
    own = f"/clusters/{await client.cluster_id()}/runs/{run}"
    foreign = f"/clusters/{ground.acknowledged[run]}/runs/{run}"
    return [
        Violation("tenants", run, f"{path} is answered for the other's key")
        for path in (own, foreign)
        if not await _is_unknown(client, path)
    ]


async def _is_unknown(client: AsyncPerdure, path: str) -> bool:
    try:
        await client.transport.send("GET", path)
    except NotFoundError:
        return True
    return False
