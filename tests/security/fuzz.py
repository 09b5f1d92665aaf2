"""Requests, and chains of requests, that are made up from the OpenAPI document and sent to a real API process.

`python -m tests.security.fuzz --minutes 10 --seed 1` plays so long, half of it on SQLite and half on PostgreSQL. Prints
how much was played, by operation, by class of answer and by property; ends with 1 if an answer was not what the document
says, or the process's log has a traceback. `--write` keeps the figures in `docs/operate/security.md`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.faults.ground.postgres import killable_postgres
from tests.faults.ground.processes import resident_mib
from tests.security.fuzz_players import Asking, rounds
from tests.security.fuzz_tally import Tally, report, write
from tests.support.api_process import ApiProcess, api_process
from tests.support.tenants import BODIES, MACHINE

DATABASES = ("SQLite", "PostgreSQL")


def furnish(process: ApiProcess) -> dict[str, str]:
    """Put one of everything into the cluster; their ids, by the names that addresses have for them."""
    inside = f"{process.url}/clusters/{process.cluster}"
    ids = {"service": "sales", "function": "query", "machineId": MACHINE["x-machine-id"]}
    definition = {"service": "sales", "functions": [{"name": "query"}]}
    with httpx2.Client(headers={**process.headers, **MACHINE}, timeout=30) as http:

        def make(url: str, body: Any) -> Any:
            made = http.post(url, json=body)
            assert made.is_success, made.text
            return made.json()

        make(f"{process.url}/machines", definition)
        ids["runId"] = make(f"{inside}/runs", BODIES["create_run"])["id"]
        ids["callId"] = make(f"{inside}/calls", BODIES["create_call"])["id"]
        ids["configId"] = make(f"{inside}/run-configs", BODIES["create_run_config"])["id"]
        said = http.get(f"{inside}/runs/{ids['runId']}/messages").json()
        ids["messageId"] = said["items"][0]["id"]
    return ids


def play(process: ApiProcess, minutes: float, tally: Tally) -> None:
    """Play until the time is over."""
    begun = time.monotonic()
    asking = Asking(process, tally)
    before = resident_mib(process.process.pid)
    try:
        for number, a_round in enumerate(rounds(asking)):
            if number % 20 == 0:  # what was deleted is there again
                asking.ids = furnish(process)
            a_round(tally.seed + number)
            if time.monotonic() - begun > minutes * 60:
                break
    finally:
        tally.minutes = (time.monotonic() - begun) / 60
        tally.memory = before, resident_mib(process.process.pid)


@contextmanager
def _process_on(database: str) -> Generator[ApiProcess]:
    settings = {"PERDURE_MAX_WAIT_SECONDS": "0.05"}
    with tempfile.TemporaryDirectory() as folder:
        if database == "SQLite":
            with api_process(Path(folder), **settings) as process:
                yield process
        else:
            with (
                killable_postgres() as postgres,
                api_process(Path(folder), PERDURE_DATABASE_URL=postgres.url, **settings) as process,
            ):
                yield process


def played_on(database: str, minutes: float, seed: int) -> Tally:
    """Play on a database of this kind; what was played, tracebacks among its failures."""
    tally = Tally(database, seed)
    with _process_on(database) as process:
        play(process, minutes, tally)
        log = process.log.read_text()
    for trace in log.split("Traceback")[1:]:
        tally.failed("the log", f"a traceback: {trace.strip().splitlines()[-1][:100]}", trace)
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--minutes", type=float, default=10.0, help="for both databases together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--write", action="store_true", help="keep the figures in docs/operate/security.md"
    )
    given = parser.parse_args()
    tallies = [
        played_on(database, given.minutes / len(DATABASES), given.seed) for database in DATABASES
    ]
    sys.stdout.write(report(tallies))
    if given.write:
        write(tallies)
    wrong = sum(sum(tally.failures.values()) for tally in tallies)
    sys.stdout.write(f"{wrong} failures\n" if wrong else "no failures\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
