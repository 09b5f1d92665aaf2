"""What the store's floor costs: `python benchmarks/sections/store.py sqlite:////tmp/bench.db` (or a PostgreSQL URL, empty database).

Prints one JSON line per figure, in microseconds: the median, the 5th and 95th percentile as its spread, and this process's
own processor time per round.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

import uvloop
from sqlalchemy import Insert, Select, Update, insert, select, update

from orchestrator.store.database.engine import Database, open_database
from orchestrator.store.database.prepared import prepared_inline
from orchestrator.store.migrations.runner import migrate
from orchestrator.store.tables import clusters, events, runs

ROUNDS = 500

Statements = tuple[Select[int], Insert, Update]


def report(figure: str, seconds: list[float], cpu_seconds: float = 0.0) -> None:
    cuts = statistics.quantiles(seconds, n=20)
    spread = [round(cut * 1e6) for cut in (cuts[0], cuts[-1])]
    value = round(statistics.median(seconds) * 1e6)
    row = {"figure": figure, "unit": "us", "value": value, "spread": spread}
    print(json.dumps(row | ({"cpu": round(cpu_seconds * 1e6)} if cpu_seconds else {})))


async def measure(figure: str, work: Callable[[], Awaitable[object]]) -> None:
    seconds: list[float] = []
    used = time.process_time()
    for _ in range(ROUNDS):
        started = time.perf_counter()
        await work()
        seconds.append(time.perf_counter() - started)
    report(figure, seconds[ROUNDS // 10 :], (time.process_time() - used) / ROUNDS)


async def prepare(database: Database) -> None:
    await migrate(database)
    async with database.write() as write:
        await write.upsert(clusters, {"id": "c"}, {"name": "c", "created_at": 0}, update=["name"])
        columns = {"cluster_id": "c", "id": "bench", "name": "bench", "model": "m"}
        stamps = {"request_hash": "", "status": "running", "created_at": 0, "updated_at": 0}
        values = {**columns, **stamps, "version": 0}
        await write.upsert(runs, {"key": 1}, values, update=["status"])


_LOCK = select(runs.c.version).where(runs.c.key == 1).with_for_update()
_INSERT_EVENT = insert(events)
_UPDATE_RUN = update(runs).where(runs.c.key == 1)
_PREPARED = (prepared_inline(_LOCK), prepared_inline(_INSERT_EVENT), prepared_inline(_UPDATE_RUN))


async def step(database: Database, statements: Statements = _PREPARED) -> None:
    """What a run does all the time: lock its row, write an event, move its version."""
    lock, insert_event, update_run = statements
    async with database.write() as write:
        version = (await write.execute(lock)).scalar_one() + 1
        event = {"type": "bench", "data": "x" * 200, "created_at": 0}
        await write.execute(insert_event, {"run_key": 1, "version": version, **event})
        await write.execute(update_run, {"version": version})
        write.mark_changed(1)


async def read_version(database: Database) -> None:
    async with database.read() as read:
        await read.execute(select(runs.c.version).where(runs.c.key == 1))


async def measure_notification(database: Database, other: Database) -> float:
    """Seconds from a commit elsewhere until a waiter here knows."""
    version = await database.feed.wait(1, after=0, timeout=0)
    waiting = asyncio.create_task(database.feed.wait(1, after=version, timeout=10))
    await asyncio.sleep(0.003)
    await step(other)
    started = time.perf_counter()
    await waiting
    return time.perf_counter() - started


def measure_publish(database: Database) -> float:
    """Seconds of the event loop that it takes to tell others of a commit."""
    started = time.perf_counter()
    database.feed.publish([1])
    return time.perf_counter() - started


async def main(url: str) -> None:
    database, other = await open_database(url), await open_database(url)
    await prepare(database)
    await measure("store_write_us", lambda: step(database))
    await measure(
        "store_write_through_sqlalchemy_us",
        lambda: step(database, (_LOCK, _INSERT_EVENT, _UPDATE_RUN)),
    )
    await measure("store_read_us", lambda: read_version(database))
    report(
        "store_feed_own_us",
        [await measure_notification(database, database) for _ in range(ROUNDS // 5)],
    )
    report(
        "store_feed_other_us",
        [await measure_notification(database, other) for _ in range(ROUNDS // 5)],
    )
    report("store_tell_us", [measure_publish(other) for _ in range(ROUNDS)])

    async def both() -> None:
        await asyncio.gather(step(database), step(other))

    await measure("store_write_against_another_us", both)
    await asyncio.gather(database.aclose(), other.aclose())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    uvloop.run(main(sys.argv[1]))
