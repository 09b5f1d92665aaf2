"""`make faults`: every fail-point and every scenario, and a table of what came of it.

`python -m tests.faults [NAME …] [--runs 8 --steps 6 --kills 2 …] [--list]`; without options at full scale.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import traceback
from collections.abc import AsyncGenerator, Sequence
from dataclasses import fields
from pathlib import Path

from tests.faults.failing_points import fail_at_every_point
from tests.faults.invariants import Violation
from tests.faults.load import FULL, Scale
from tests.faults.outcome import Outcome, table
from tests.faults.postgres import killable_postgres
from tests.faults.scenarios.catalogue import SCENARIOS

POINTS = ("fail-points", "fail-points-on-postgresql")
_RUNS_PER_POINT = 3


async def play(names: Sequence[str], scale: Scale) -> AsyncGenerator[Outcome]:
    """The outcomes of these, one after the other; what breaks a scenario off is an outcome too."""
    for name in names:
        with tempfile.TemporaryDirectory(prefix="perdure-faults-") as folder:
            try:
                for outcome in await _play(name, Path(folder), scale):
                    yield outcome
            except Exception as error:  # noqa: BLE001 - the other scenarios are to be played all the same
                traceback.print_exc()
                broken = Violation("broken off", "", f"{type(error).__name__}: {error}")
                yield Outcome(name, 0, 0, 0, 0, None, (broken,))


async def _play(name: str, folder: Path, scale: Scale) -> list[Outcome]:
    if name == "fail-points":
        return list((await fail_at_every_point(folder, runs=_RUNS_PER_POINT)).values())
    if name == "fail-points-on-postgresql":
        with killable_postgres() as postgres:
            found = await fail_at_every_point(
                folder, runs=_RUNS_PER_POINT, database_url=postgres.url
            )
        return list(found.values())
    return [await SCENARIOS[name](folder, scale)]


async def _main() -> int:
    known = (*POINTS, *SCENARIOS)
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("names", nargs="*", help="scenarios; default: all", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="only print their names")
    for each in fields(Scale):
        default = getattr(FULL, each.name)
        option = f"--{each.name.replace('_', '-')}"
        parser.add_argument(
            option, type=int if isinstance(default, int) else float, default=default
        )
    asked = parser.parse_args()
    if asked.list:
        print(*known, sep="\n")  # noqa: T201 - a command's output
        return 0
    if unknown := set(asked.names) - set(known):
        parser.error(f"no scenario is called {', '.join(sorted(unknown))}")
    scale = Scale(**{each.name: getattr(asked, each.name) for each in fields(Scale)})
    outcomes: list[Outcome] = []
    async for outcome in play(asked.names or known, scale):
        outcomes.append(outcome)
        print(outcome, file=sys.stderr, flush=True)  # noqa: T201 - a command's output
    print(table(outcomes))  # noqa: T201 - a command's output
    return int(not all(outcome.is_right for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
