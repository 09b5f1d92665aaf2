"""Statements that a writing transaction on SQLite executes in the event loop, and those that go to its thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Select, func, insert, literal, select, update
from sqlalchemy.exc import IntegrityError

from orchestrator.store.database.drivers.sqlite import SqliteConnection
from orchestrator.store.database.drivers.sqlite_connection import connect
from orchestrator.store.database.engine import Database, Write, open_database
from orchestrator.store.database.prepared import prepared_inline
from orchestrator.store.migrations.runner import migrate
from orchestrator.store.tables import clusters

_NAMED = prepared_inline(select(clusters.c.name))
_NAME = prepared_inline(update(clusters))
_INSERT = prepared_inline(insert(clusters))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncGenerator[Database]:
    """One with a cluster, whose SQL function `thread()` says in which thread it is called."""
    database = await open_database(f"sqlite:///{tmp_path / 'store.db'}")
    await migrate(database)
    async with database.write() as write:
        await write.execute(insert(clusters).values(id="c", name="before", created_at=0))
        raw = await write._connection.get_raw_connection()
        driver = raw.driver_connection
        assert isinstance(driver, SqliteConnection)
        await driver.create_function("thread", 1, _thread)
    yield database
    await database.aclose()


def _thread(_: str) -> int:
    return threading.get_ident()


def _where(value: str = "") -> Select[Any]:
    return select(func.thread(literal(value)))


async def _is_here(write: Write, statement: Select[Any]) -> bool:
    return (await write.execute(statement)).scalar_one() == threading.get_ident()


async def _name(database: Database) -> str:
    async with database.read() as read:
        return (await read.execute(select(clusters.c.name))).scalar_one()


async def test_what_is_marked_needs_no_thread(database: Database) -> None:
    async with database.write() as write:
        assert await _is_here(write, prepared_inline(_where())), "it begins the transaction too"
        assert not await _is_here(write, _where())
        assert await _is_here(write, prepared_inline(_where())), "the mark counts for one statement"


async def test_a_large_value_is_the_threads(database: Database) -> None:
    async with database.write() as write:
        assert await _is_here(write, prepared_inline(_where("x" * 65_536)))
        assert not await _is_here(write, prepared_inline(_where("x" * 65_537)))


async def test_many_rows_are_the_threads(database: Database) -> None:
    def rows(count: int) -> list[dict[str, Any]]:
        named = (f"{count}-{number}" for number in range(count))
        return [{"id": name, "name": name, "created_at": 0} for name in named]

    async with database.write() as write:
        for count in (2, 50, 51):
            await write.execute(_INSERT, rows(count))
    async with database.read() as read:
        counted = await read.execute(select(func.count()).select_from(clusters))
        assert counted.scalar_one() == 1 + 2 + 50 + 51


async def test_a_reader_asks_in_its_thread(database: Database) -> None:
    async with database.read() as read:
        assert (await read.execute(_NAMED)).scalar_one() == "before"


async def test_what_is_marked_is_undone_with_its_transaction(database: Database) -> None:
    with pytest.raises(IntegrityError):
        await _write_and_fail(database)
    assert await _name(database) == "before"
    async with database.write() as write:
        await write.execute(_NAME, {"name": "later"})
    assert await _name(database) == "later"


async def test_another_processs_transaction_is_waited_for_in_the_thread(
    database: Database,
) -> None:
    assert database.path is not None
    other = connect(database.path)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(_write(database))
    looks = 0
    while looks < 20:  # the loop goes round while the writer waits
        await asyncio.sleep(0.001)
        looks += 1
    assert not writing.done()
    other.execute("COMMIT")
    other.close()
    await asyncio.wait_for(writing, 5)
    assert await _name(database) == "written"


async def _write_and_fail(database: Database) -> None:
    async with database.write() as write:
        await write.execute(_NAME, {"name": "after"})
        await write.execute(_INSERT, {"id": "c", "name": "twice", "created_at": 0})


async def _write(database: Database) -> None:
    async with database.write() as write:
        await write.execute(_NAME, {"name": "written"})


async def test_one_that_is_cancelled_anywhere_leaves_a_writer_that_writes(
    database: Database,
) -> None:
    for turns in range(8):
        writing = asyncio.create_task(_write(database))
        for _ in range(turns):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        async with database.write() as write:
            await write.execute(_NAME, {"name": f"after {turns}"})
        assert await _name(database) == f"after {turns}"
