"""A second process for the store's tests: `python store_process.py <what> <url> …`. It prints one word when it is ready
and does what it was asked until its standard input ends or it is done."""

from __future__ import annotations

import asyncio
import sys

from sqlalchemy import insert, select, update

from orchestrator.store.database.engine import Database, open_database
from orchestrator.store.migrations.runner import migrate
from orchestrator.store.tables import clusters, runs


def emit(word: str) -> None:
    print(word, flush=True)  # noqa: T201 - this is how it talks to the test


async def next_line() -> str:
    return await asyncio.to_thread(sys.stdin.readline)


async def count_up(database: Database, writers: str, rounds: str) -> None:
    """Raise the version of run 1, from several tasks at once: the reading and the writing of each must not be parted."""
    emit("ready")
    await next_line()

    async def writer() -> None:
        for _ in range(int(rounds)):
            async with database.write() as write:
                statement = select(runs.c.version).where(runs.c.key == 1).with_for_update()
                version = (await write.execute(statement)).scalar_one()
                await write.execute(update(runs).where(runs.c.key == 1).values(version=version + 1))
                write.mark_changed(1)

    async with asyncio.TaskGroup() as group:
        for _ in range(int(writers)):
            group.create_task(writer())
    emit("done")


async def echo(database: Database) -> None:
    """Raise the version of the run whose key it reads, line by line."""
    emit("ready")
    while key := (await next_line()).strip():
        async with database.write() as write:
            statement = update(runs).where(runs.c.key == int(key))
            await write.execute(statement.values(version=runs.c.version + 1))
            write.mark_changed(int(key))


async def wait_for_change(database: Database) -> None:
    """Wait for a run that never changes, until the process is killed."""
    waiting = asyncio.create_task(database.feed.wait(1, after=2**53, timeout=600))
    await asyncio.sleep(0)
    emit("ready")
    await waiting


async def hold_checkpoints(database: Database) -> None:
    """Take the checkpointing role, if it is free, and keep it."""
    assert database.checkpointer is not None
    await database.checkpointer.is_leader.wait()
    emit("ready")
    await next_line()


async def migrate_and_use(database: Database, name: str) -> None:
    """What every process does when it starts: bring the tables up to date, then use them."""
    emit("ready")
    await next_line()
    await migrate(database)
    async with database.write() as write:
        await write.execute(insert(clusters).values(id=name, name=name, created_at=0))
    emit("done")


async def main(what: str, url: str, *rest: str) -> None:
    all_deeds = (count_up, echo, wait_for_change, hold_checkpoints, migrate_and_use)
    deeds = {each.__name__: each for each in all_deeds}
    database = await open_database(url)
    try:
        await deeds[what](database, *rest)
    finally:
        await database.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
