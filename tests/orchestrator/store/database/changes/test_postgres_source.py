"""PostgreSQL's LISTEN and NOTIFY: what is sent is received, also after a connection was lost."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from sqlalchemy import text

from orchestrator.store.database.changes.postgres_source import CHANNEL, PostgresChangeSource
from orchestrator.store.database.engine import Database, open_database
from tests.orchestrator.store.database.changes.changes import Make, Queries, raise_version

on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


async def _listener(database: Database, other_than: int = 0) -> int:
    """The process id of the LISTEN connection; waits until there is one, and another than `other_than`."""
    statement = text(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle' "
        "AND query LIKE 'LISTEN%' AND pid <> :pid"
    )
    async with asyncio.timeout(10):
        while True:
            async with database.read() as read:
                pid = (await read.execute(statement, {"pid": other_than})).scalar_one_or_none()
            if pid is not None:
                return int(pid)
            await asyncio.sleep(0.01)


@on_postgresql
async def test_a_listener_that_is_killed_listens_again_and_nothing_is_lost(
    database: Database, another_database: Database, make_runs: Make
) -> None:
    await make_runs(database, 1)
    pid = 0
    for version in range(1, 4):
        waiting = asyncio.create_task(database.feed.wait(1, after=version, timeout=30))
        await asyncio.sleep(0)
        pid = await _listener(another_database, other_than=pid)
        async with another_database.read() as read:
            await read.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        await raise_version(another_database)
        async with asyncio.timeout(5):
            assert await waiting == version + 1


@on_postgresql
async def test_without_a_listener_changes_are_seen_within_a_second_or_so(
    another_database: Database, database_url: str, make_runs: Make
) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:9/nothing"
    database = await open_database(database_url, listen_url=nowhere)
    await make_runs(database, 1)
    queries = Queries(database)
    waiting = asyncio.create_task(database.feed.wait(1, after=1, timeout=30))
    await queries.refreshed.wait()
    await raise_version(another_database)
    async with asyncio.timeout(2.5):
        assert await waiting == 2
    await database.aclose()


@on_postgresql
async def test_many_commits_share_a_few_notifications(database_url: str, make_runs: Make) -> None:
    database = await open_database(database_url)
    await make_runs(database, 100)
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as listener:
        await listener.execute(f"LISTEN {CHANNEL}".encode())
        await asyncio.gather(*(raise_version(database, key) for key in range(1, 101)))
        heard: set[int] = set()
        payloads = 0
        async for notification in listener.notifies(timeout=10):
            payloads += 1
            heard |= {int(key) for key in notification.payload.partition(":")[2].split(",")}
            if len(heard) == 100:
                break
    assert payloads <= 50
    await database.aclose()


@on_postgresql
async def test_what_was_committed_last_is_sent_before_closing(
    database_url: str, make_runs: Make
) -> None:
    database = await open_database(database_url)
    await make_runs(database, 1)
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as listener:
        await listener.execute(f"LISTEN {CHANNEL}".encode())
        await raise_version(database)
        await database.aclose()
        payloads = [each.payload async for each in listener.notifies(timeout=5, stop_after=1)]
    assert [payload.partition(":")[2] for payload in payloads] == ["1"]


async def _sender_pid(database: Database) -> int:
    """The process id of the connection that tells."""
    statement = text(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_notify(%' "
        "AND application_name = 'perdure notifier'"
    )
    async with database.read() as read:
        return int((await read.execute(statement)).scalar_one())


@on_postgresql
async def test_a_killed_notify_connection_is_reopened_for_the_next_change(
    database_url: str, database: Database, make_runs: Make
) -> None:
    await make_runs(database, 3)
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as listener:
        await listener.execute(f"LISTEN {CHANNEL}".encode())
        for key in (1, 2, 3):
            await raise_version(database, key)
            (notification,) = [each async for each in listener.notifies(timeout=10, stop_after=1)]
            assert notification.payload.partition(":")[2] == str(key)
            await listener.execute(
                "SELECT pg_terminate_backend(%s, 5000)", [await _sender_pid(database)]
            )


@on_postgresql
async def test_a_notification_that_is_no_list_of_keys_is_ignored(
    database: Database, another_database: Database, database_url: str, make_runs: Make
) -> None:
    await make_runs(database, 1)
    hints = database.feed._changes
    assert isinstance(hints, PostgresChangeSource)
    waiting = asyncio.create_task(database.feed.wait(1, after=1, timeout=30))
    await asyncio.sleep(0)
    await hints.listening.wait()
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as stranger:
        for payload in ("", "1", "x:", "x:²", "x:1,,1", f"x:{'9' * 7_000}", "x:-1"):
            await stranger.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])
    await raise_version(another_database)
    assert await waiting == 2
    assert hints.listening.is_set()
