"""Transactions on both databases: what is promised to those who read, and to those who write at once."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, OperationalError

from orchestrator.store.database.drivers.postgres import IDLE_SECONDS
from orchestrator.store.database.engine import (
    TRANSACTION_ATTEMPTS,
    Database,
    Read,
    Write,
    open_database,
)
from orchestrator.store.tables import clusters, messages, runs

Make = Callable[[Database, int], Awaitable[None]]
StartPeer = Callable[..., Awaitable[Any]]


async def _version(database: Database, key: int = 1) -> int:
    async with database.read() as read:
        return (await read.execute(select(runs.c.version).where(runs.c.key == key))).scalar_one()


async def _raise_version(write: Write, key: int) -> None:
    statement = update(runs).where(runs.c.key == key).values(version=runs.c.version + 1)
    await write.execute(statement)


async def _raise_version_and_fail(write: Write, key: int) -> None:
    await _raise_version(write, key)
    raise ZeroDivisionError


async def test_what_a_block_wrote_is_there_afterwards(database: Database, make_runs: Make) -> None:
    await make_runs(database, 1)
    async with database.write() as write:
        await _raise_version(write, 1)
    assert await _version(database) == 2


async def test_a_block_that_raises_leaves_nothing_behind(
    database: Database, make_runs: Make
) -> None:
    await make_runs(database, 1)
    with pytest.raises(ZeroDivisionError):
        async with database.write() as write:
            await _raise_version_and_fail(write, 1)
    assert await _version(database) == 1


async def test_a_block_that_is_cancelled_leaves_nothing_behind_and_the_next_can_write(
    database: Database, make_runs: Make
) -> None:
    await make_runs(database, 1)
    inside = asyncio.Event()

    async def never_ends() -> None:
        async with database.write() as write:
            await _raise_version(write, 1)
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(never_ends())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await _version(database) == 1
    async with database.write() as write:
        await _raise_version(write, 1)
    assert await _version(database) == 2


async def test_cancelling_at_any_moment_never_breaks_the_writer(
    database: Database, make_runs: Make
) -> None:
    await make_runs(database, 1)

    async def one() -> None:
        async with database.write() as write:
            await _raise_version(write, 1)
            await _raise_version(write, 1)

    for moment in range(40):
        task = asyncio.create_task(one())
        for _ in range(moment):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    before = await _version(database)
    assert before % 2 == 1, "half a transaction was committed"
    await one()
    assert await _version(database) == before + 2


async def test_one_read_sees_one_moment_on_sqlite(database: Database, make_runs: Make) -> None:
    await make_runs(database, 1)
    async with database.read() as read:
        statement = select(runs.c.version).where(runs.c.key == 1)
        first = (await read.execute(statement)).scalar_one()
        async with database.write() as write:
            await _raise_version(write, 1)
        second = (await read.execute(statement)).scalar_one()
    assert (first, second) == ((1, 1) if database.dialect == "sqlite" else (1, 2))


async def test_an_inline_read_sees_what_others_have_committed(
    database: Database, another_database: Database, make_runs: Make
) -> None:
    await make_runs(database, 1)
    version = select(runs.c.version).where(runs.c.key == 1)
    for expected in (1, 2, 3):
        async with database.read_inline() as first, another_database.read_inline() as second:
            for read in (first, second):
                assert (await read.execute(version)).scalar_one() == expected
        async with another_database.write() as write:
            await write.execute(update(runs).values(version=runs.c.version + 1))


async def test_an_inline_read_on_sqlite_needs_no_thread_and_refuses_a_write(tmp_path: Path) -> None:
    database = await open_database(f"sqlite:///{tmp_path / 'read.db'}")
    async with database.read_inline() as read:
        assert (await read.execute(text("SELECT 1"))).scalar_one() == 1
        with pytest.raises(OperationalError, match="readonly"):
            await read.execute(text("CREATE TABLE t (x)"))
        with pytest.raises(OperationalError, match="no such table"):
            await read.execute(text("SELECT * FROM t"))
    async with database.read_inline() as read:
        assert (await read.execute(text("SELECT 2"))).scalar_one() == 2
    assert not [each.name for each in threading.enumerate() if each.name == "sqlite read.db"]
    await database.aclose()


async def test_sqlite_itself_refuses_a_write_in_a_read(tmp_path: Path) -> None:
    database = await open_database(f"sqlite:///{tmp_path / 'a.db'}")
    async with database.read() as read:
        with pytest.raises(OperationalError, match="readonly"):
            await read.execute(text("CREATE TABLE t (a)"))
    await database.aclose()


def test_reads_and_writes_are_different_types() -> None:
    assert not issubclass(Read, Write)
    assert issubclass(Write, Read)


async def test_foreign_keys_are_enforced_and_cascade(database: Database, make_runs: Make) -> None:
    await make_runs(database, 1)
    message = {"id": "m-1", "turn": 1, "type": "human", "data": "{}", "created_at": 0}
    with pytest.raises(DBAPIError):
        async with database.write() as write:
            await write.execute(insert(messages).values(run_key=99, **message))
    async with database.write() as write:
        await write.execute(insert(messages).values(run_key=1, **message))
        await write.execute(delete(runs).where(runs.c.key == 1))
    async with database.read() as read:
        assert (await read.execute(select(func.count()).select_from(messages))).scalar_one() == 0


async def test_upsert_inserts_once_and_then_updates_only_what_it_is_given(
    database: Database,
) -> None:
    for name, created_at in (("old", 1), ("new", 2)):
        async with database.write() as write:
            values = {"name": name, "created_at": created_at}
            await write.upsert(clusters, {"id": "c"}, values, update=["name"])
    async with database.read() as read:
        rows = (
            await read.execute(select(clusters.c.id, clusters.c.name, clusters.c.created_at))
        ).all()
    assert [tuple(row) for row in rows] == [("c", "new", 1)]


async def test_a_write_inside_a_write_is_an_error_and_not_a_deadlock_on_sqlite(
    tmp_path: Path,
) -> None:
    database = await open_database(f"sqlite:///{tmp_path / 'a.db'}")
    with pytest.raises(RuntimeError, match="inside a write"):
        async with database.write(), database.write():
            pass
    await database.aclose()


async def test_writers_in_two_processes_never_find_the_database_locked_and_lose_no_update(
    database: Database, database_url: str, make_runs: Make, peer: StartPeer
) -> None:
    await make_runs(database, 1)
    others = [await peer("count_up", database_url, "4", "50") for _ in range(2)]
    for other in others:
        await other.send_line()
    for other in others:
        await other.expect("done")
    assert await _version(database) == 1 + 2 * 4 * 50


async def test_a_deadlock_is_tried_again(database: Database, make_runs: Make) -> None:
    await make_runs(database, 2)
    tries: list[int] = []
    meeting = asyncio.Barrier(2)

    def crosswise(first: int, second: int) -> Callable[[Write], Awaitable[None]]:
        async def work(write: Write) -> None:
            tries.append(first)
            await _raise_version(write, first)
            if database.dialect == "postgresql" and tries.count(first) == 1:
                await meeting.wait()
            await _raise_version(write, second)

        return work

    await asyncio.gather(database.transact(crosswise(1, 2)), database.transact(crosswise(2, 1)))
    assert [await _version(database, key) for key in (1, 2)] == [3, 3]
    assert len(tries) == (2 if database.dialect == "sqlite" else 3)


async def test_trying_again_is_bounded_and_the_last_error_is_raised(database: Database) -> None:
    tries: list[int] = []

    async def always_locked(_: Write) -> None:
        tries.append(1)
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise OperationalError("UPDATE", {}, error)

    with pytest.raises(OperationalError, match="locked"):
        await database.transact(always_locked)
    assert len(tries) == TRANSACTION_ATTEMPTS


async def test_any_other_error_is_raised_at_once(database: Database, make_runs: Make) -> None:
    await make_runs(database, 1)
    tries: list[int] = []

    async def duplicate(write: Write) -> None:
        tries.append(1)
        await write.execute(insert(clusters).values(id="c", name="c", created_at=0))

    with pytest.raises(DBAPIError):
        await database.transact(duplicate)
    assert len(tries) == 1


async def test_connections_the_server_closed_meanwhile_are_replaced_unnoticed(
    database: Database, make_runs: Make
) -> None:
    await make_runs(database, 1)
    if database.dialect == "postgresql":
        kill = text(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        async with database.read(), database.read(), database.read() as read:
            await read.execute(text("SELECT 1"))
        async with database.read() as read:
            await read.execute(kill)
    for _ in range(5):
        async with database.write() as write:
            await _raise_version(write, 1)
    assert await _version(database) == 6


async def test_a_process_that_stands_still_in_a_transaction_keeps_no_lock_for_ever(
    database: Database,
) -> None:
    """SQLite has nothing of the kind: there the lock is held until the process goes on, or is killed."""
    async with database.write() as write:
        if database.dialect == "postgresql":
            limit = text("SELECT current_setting('idle_in_transaction_session_timeout')")
            assert (await write.execute(limit)).scalar_one() == f"{IDLE_SECONDS}s"
        else:
            assert (await write.execute(text("PRAGMA busy_timeout"))).scalar_one() == 0


async def test_a_connection_lost_inside_a_transaction_is_tried_again(
    database: Database, make_runs: Make
) -> None:
    await make_runs(database, 1)
    tries: list[int] = []

    async def work(write: Write) -> None:
        tries.append(1)
        await _raise_version(write, 1)
        if database.dialect == "postgresql" and len(tries) == 1:
            await write.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    await database.transact(work)
    assert await _version(database) == 2
    assert len(tries) == (1 if database.dialect == "sqlite" else 2)


async def test_a_pooler_in_between_means_no_prepared_statements(
    database_url: str, make_runs: Make
) -> None:
    joiner = "&" if "?" in database_url else "?"
    url = f"{database_url}{joiner}pooler=1" if "postgresql" in database_url else database_url
    database = await open_database(url, listen_url=database_url)
    try:
        await make_runs(database, 1)
        async with database.write() as write:
            for _ in range(10):
                await _raise_version(write, 1)
            if database.dialect == "postgresql":
                prepared = text("SELECT count(*) FROM pg_prepared_statements")
                assert (await write.execute(prepared)).scalar_one() == 0
        assert await _version(database) == 11
    finally:
        await database.aclose()


@pytest.mark.parametrize("url", ["mysql://h/d", "sqlite://", "sqlite:///:memory:"])
async def test_any_other_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        await open_database(url)
