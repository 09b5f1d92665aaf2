"""What creating runs costs the API's process, without a socket and without Temporal: `python -m benchmarks.sections.creates`.

Runs are created on a fresh database (`--store postgresql`: that of the wheel, else a SQLite file) one after the other, then fifty at once; each time the middle of several rounds is
printed: milliseconds of processor time and of waiting per run.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import httpx2
from typing_extensions import override

from api.__main__ import open_services
from api.app import create_app
from benchmarks.sides.postgres import running_postgres
from orchestrator.operations.runs import Operations
from orchestrator.runtime.clock import now_ms
from orchestrator.settings import Settings
from orchestrator.temporal.client import Temporal
from orchestrator.workflows.interface import RunRef
from perdure.contract import RegisterMachine

_ROUNDS = 12
_RUNS = 50
_SERVICE = {"service": "bench", "functions": [{"name": "echo"}]}


class _NullEngine(Temporal):
    """Takes no notice of new runs."""

    @override
    async def start_run(self, ref: RunRef, *, priority: int = 0) -> None:
        return


async def _measure(settings: Settings) -> None:
    async with open_services(settings) as opened:
        operations = Operations(opened.store, _NullEngine(settings), settings)
        services = dataclasses.replace(opened, operations=operations)
        cluster = await opened.store.keys.ensure_cluster("bench")
        _, key = await opened.store.keys.create(cluster, "bench")
        offer = RegisterMachine.model_validate(_SERVICE)
        until = now_ms() + 600_000
        await operations.register(cluster, "bench", offer, heartbeats=True, alive_until=until)
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(create_app(services)),
            base_url=f"http://bench/clusters/{cluster}",
            headers={"Authorization": f"Bearer {key}"},
        ) as client:
            await _report(client, "one after the other", at_once=1)
            await _report(client, f"{_RUNS} at once", at_once=_RUNS)


async def _report(client: httpx2.AsyncClient, manner: str, *, at_once: int) -> None:
    taken = [await _round(client, at_once) for _ in range(_ROUNDS)][1:]
    busy, waited = (median(column) for column in zip(*taken, strict=True))
    print(f"{manner}: {busy:.2f} ms of processor time and {waited:.2f} ms per run")


async def _round(client: httpx2.AsyncClient, at_once: int) -> tuple[float, float]:
    busy, begun = time.process_time(), time.perf_counter()
    for _ in range(_RUNS // at_once):
        await asyncio.gather(*(_create(client) for _ in range(at_once)))
    waited = (time.perf_counter() - begun) * 1000 / _RUNS
    return (time.process_time() - busy) * 1000 / _RUNS, waited


async def _create(client: httpx2.AsyncClient) -> None:
    asked = {"initialPrompt": "go", "model": "scripted/inline", "attachedFunctions": ["bench_echo"]}
    key = {"Idempotency-Key": str(time.perf_counter_ns())}
    (await client.post("/runs", json=asked, headers=key)).raise_for_status()


@contextmanager
def _database(store: str) -> Generator[str]:
    if store == "postgresql":
        with running_postgres() as postgres:
            yield postgres.url
    else:
        with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
            yield f"sqlite:///{Path(folder) / 'perdure.db'}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
    with _database(parser.parse_args().store) as url:
        asyncio.run(_measure(Settings(database_url=url, temporal_address="127.0.0.1:1")))


if __name__ == "__main__":
    main()
