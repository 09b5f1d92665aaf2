"""Several sides measured in turn, so that a busy minute meets all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.sides.sides import Side

Measure = Callable[[Side], Awaitable[float]]
ONE_SAMPLE_SECONDS = 240.0


@dataclass(slots=True)
class Samples:
    """As many samples of each side as there were rounds; sides that failed are named with their reason."""

    of: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    failed: dict[str, str] = field(default_factory=dict[str, str])


async def in_turn(
    sides: Sequence[Side], measure: Measure, *, rounds: int, seconds: float = 600
) -> Samples:
    """Measure each side once per round, each round beginning with another side.

    No round begins after `seconds`. A side that fails or takes too long is left out from then on.
    """
    taken = Samples({side.name: [] for side in sides})
    until = time.monotonic() + seconds
    for number in range(rounds):
        if number > 0 and time.monotonic() > until:
            break
        left = [side for side in sides if side.name in taken.of]
        turn = number % len(left) if left else 0
        for side in [*left[turn:], *left[:turn]]:
            await _sample(side, measure, taken)
    return taken


async def _sample(side: Side, measure: Measure, taken: Samples) -> None:
    try:
        async with asyncio.timeout(ONE_SAMPLE_SECONDS):
            taken.of[side.name].append(await measure(side))
    except Exception as error:  # noqa: BLE001 - one side's failure is a row of the table
        del taken.of[side.name]
        taken.failed[side.name] = f"{type(error).__name__}: {error}"
