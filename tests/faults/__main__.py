"""`make faults`: every fail-point and every scenario, and a table of what came of it.

`python -m tests.faults [NAME …] [--runs 8 --steps 6 --kills 2 …] [--table FILE] [--write] [--keep FOLDER] [--list]`; without
options at full scale. Ends with 1 where anything is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import AsyncGenerator, Sequence
from dataclasses import fields, replace
from pathlib import Path

from tests.faults.checker.invariants import Violation
from tests.faults.checker.outcome import Outcome, table
from tests.faults.checker.page import PAGE, rewritten
from tests.faults.failing_points import fail_at_every_point
from tests.faults.ground.load import FULL, Scale
from tests.faults.ground.postgres import killable_postgres
from tests.faults.scenarios.catalogue import SCENARIOS

POINTS = ("fail-points", "fail-points-on-postgresql")
_KNOWN = (*POINTS, *SCENARIOS)
_RUNS_PER_POINT = 3
_MAX_SECONDS = 600.0
"""After so long a scenario is broken off: the others are to be played too."""


async def play(
    names: Sequence[str], scale: Scale, keep: Path | None = None
) -> AsyncGenerator[Outcome]:
    """The outcomes of these, one after the other; what breaks a scenario off is an outcome too.

    What is left of a broken one, its logs and databases, is copied to `keep`.
    """
    for name in names:
        with tempfile.TemporaryDirectory(prefix="perdure-faults-") as folder:
            began = time.monotonic()
            random.seed(scale.seed or None)
            try:
                async with asyncio.timeout(_MAX_SECONDS):
                    outcomes = await _play(name, Path(folder), scale)
            except Exception as error:  # noqa: BLE001 - the other scenarios are to be played all the same
                traceback.print_exc()
                broken = Violation("broken off", "", f"{type(error).__name__}: {error}")
                outcomes = [Outcome(name, 0, 0, 0, 0, None, (broken,))]
            if keep is not None and not all(outcome.is_right for outcome in outcomes):
                shutil.copytree(folder, keep / name, dirs_exist_ok=True)
            took = (time.monotonic() - began) / len(outcomes)
            for outcome in outcomes:
                yield replace(outcome, took=took)


async def _play(name: str, folder: Path, scale: Scale) -> list[Outcome]:
    if name == "fail-points":
        return list((await fail_at_every_point(folder, runs=_RUNS_PER_POINT)).values())
    if name == "fail-points-on-postgresql":
        with killable_postgres() as postgres:
            found = await fail_at_every_point(
                folder, runs=_RUNS_PER_POINT, database_url=postgres.url
            )
        return [
            replace(outcome, scenario=f"{outcome.scenario}, on PostgreSQL")
            for outcome in found.values()
        ]
    return [await SCENARIOS[name](folder, scale)]


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("names", nargs="*", help="scenarios; default: all", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="only print their names")
    parser.add_argument("--table", type=Path, metavar="FILE", help="keep the table there too")
    parser.add_argument(
        "--write", action="store_true", help="keep its rows in docs/operate/durability.md"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep logs of what is broken")
    for each in fields(Scale):
        default = getattr(FULL, each.name)
        option = f"--{each.name.replace('_', '-')}"
        parser.add_argument(
            option, type=int if isinstance(default, int) else float, default=default
        )
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(_KNOWN):
        parser.error(f"no scenario is called {', '.join(sorted(unknown))}")
    return asked


async def _main() -> int:
    asked = _asked()
    if asked.list:
        print(*_KNOWN, sep="\n")  # noqa: T201 - a command's output
        return 0
    scale = Scale(**{each.name: getattr(asked, each.name) for each in fields(Scale)})
    said = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the first of them."
    outcomes: list[Outcome] = []
    async for outcome in play(asked.names or _KNOWN, scale, asked.keep):
        outcomes.append(outcome)
        print(outcome, file=sys.stderr, flush=True)  # noqa: T201 - a command's output
        if asked.table:  # after each of them: whoever breaks off keeps what there is
            asked.table.write_text(f"{table(outcomes)}\n\n{said}\n")
        if asked.write:
            PAGE.write_text(rewritten(PAGE.read_text(), [outcome]))
    print(table(outcomes), said, sep="\n\n")  # noqa: T201 - a command's output
    return int(not all(outcome.is_right for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
