"""The change feed: nobody waits longer than needed, whoever made the change, and waiting costs next to nothing."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import psycopg
import pytest
from sqlalchemy import delete, text, update

from orchestrator.store.engine import Database, Write, open_database
from orchestrator.store.feed import CATCH_UP_SECONDS, ChangeFeed, Sight
from orchestrator.store.hints import CHANNEL, Hint
from orchestrator.store.tables import runs

Make = Callable[[Database, int], Awaitable[None]]
StartPeer = Callable[..., Awaitable[Any]]

WAKE_SECONDS = 0.03
"""The median a waiter may need to hear of a commit (measured: 0.3 ms in this process, 2-7 ms from another)."""


async def _raise_version(database: Database, key: int = 1) -> None:
    async with database.write() as write:
        statement = update(runs).where(runs.c.key == key).values(version=runs.c.version + 1)
        await write.execute(statement)
        write.touch(key)


class _Queries:
    """Counts what the feed asks: each look is one query."""

    def __init__(self, database: Database) -> None:
        self.count = 0
        self.asked = asyncio.Event()
        self._look = database._sights
        database.feed = ChangeFeed(self._count, database.feed._hints)

    async def _count(self, keys: Collection[int]) -> Mapping[int, Sight]:
        self.count += 1
        self.asked.set()
        return await self._look(keys)


async def test_a_version_that_is_past_already_is_answered_at_once(
    database: Database, make_runs: Make
) -> None:
    await make_runs(database, 1)
    assert await database.feed.wait(1, after=0, timeout=30) == 1


async def test_no_change_answers_the_same_version_when_the_time_is_over(
    database: Database, make_runs: Make
) -> None:
    await make_runs(database, 1)
    started = time.monotonic()
    assert await database.feed.wait(1, after=1, timeout=0.2) == 1
    assert 0.2 <= time.monotonic() - started < 2
    assert await database.feed.wait(1, after=1, timeout=0) == 1


async def test_a_run_that_does_not_exist_is_not_waited_for(database: Database) -> None:
    assert await database.feed.wait(77, after=0, timeout=30) == 0


async def test_a_run_that_is_deleted_meanwhile_ends_the_wait(
    database: Database, make_runs: Make
) -> None:
    await make_runs(database, 1)
    waiting = asyncio.create_task(database.feed.wait(1, after=1, timeout=30))
    await asyncio.sleep(0)
    async with database.write() as write:
        await write.execute(delete(runs).where(runs.c.key == 1))
        write.touch(1)
    assert await waiting == 0


async def test_a_commit_of_this_process_wakes_at_once_without_any_hint(
    database: Database, make_runs: Make
) -> None:
    await make_runs(database, 1)
    database.feed = ChangeFeed(database._sights, _Silence())
    delays: list[float] = []
    for version in range(1, 21):
        waiting = asyncio.create_task(database.feed.wait(1, after=version, timeout=30))
        await asyncio.sleep(0)
        await _raise_version(database)
        committed = time.monotonic()
        assert await waiting == version + 1
        delays.append(time.monotonic() - committed)
    assert statistics.median(delays) < WAKE_SECONDS


async def test_a_commit_of_another_process_wakes_within_milliseconds(
    database: Database, database_url: str, make_runs: Make, peer: StartPeer
) -> None:
    await make_runs(database, 1)
    other = await peer("echo", database_url)
    delays: list[float] = []
    for version in range(1, 31):
        waiting = asyncio.create_task(database.feed.wait(1, after=version, timeout=30))
        await asyncio.sleep(0)
        asked = time.monotonic()
        await other.hears("1")
        assert await waiting == version + 1
        delays.append(time.monotonic() - asked)
    assert statistics.median(delays) < WAKE_SECONDS
    assert await other.leaves() == 0


async def test_two_hundred_waiters_on_one_run_cost_a_handful_of_queries(
    database: Database, make_runs: Make
) -> None:
    await make_runs(database, 1)
    queries = _Queries(database)
    waiting = [asyncio.create_task(database.feed.wait(1, after=1, timeout=30)) for _ in range(200)]
    await queries.asked.wait()
    await _raise_version(database)
    assert await asyncio.gather(*waiting) == [2] * 200
    assert queries.count <= 6


async def test_waiters_on_two_hundred_runs_cost_a_handful_of_queries(
    database: Database, another_database: Database, make_runs: Make
) -> None:
    await make_runs(database, 200)
    queries = _Queries(database)
    waiting = [
        asyncio.create_task(database.feed.wait(key, after=1, timeout=30)) for key in range(1, 201)
    ]
    await queries.asked.wait()
    async with another_database.write() as write:
        await write.execute(update(runs).values(version=2))
        for key in range(1, 201):
            write.touch(key)
    assert await asyncio.gather(*waiting) == [2] * 200
    assert queries.count <= 8


async def test_only_the_runs_that_changed_wake(database: Database, make_runs: Make) -> None:
    await make_runs(database, 2)
    first = asyncio.create_task(database.feed.wait(1, after=1, timeout=30))
    second = asyncio.create_task(database.feed.wait(2, after=1, timeout=30))
    await asyncio.sleep(0)
    await _raise_version(database, 2)
    assert await second == 2
    assert not first.done()
    first.cancel()


async def test_who_waits_for_the_end_is_not_woken_before(
    database: Database, make_runs: Make
) -> None:
    await make_runs(database, 1)
    waiting = asyncio.create_task(database.feed.wait(1, after=1, timeout=30, until_over=True))
    assert await database.feed.wait(1, after=0, timeout=30) == 1
    await _raise_version(database)
    assert await database.feed.wait(1, after=1, timeout=30) == 2  # both were looked at
    assert not waiting.done()
    async with database.write() as write:
        await write.execute(update(runs).where(runs.c.key == 1).values(status="done", version=3))
        write.touch(1)
    assert await waiting == 3


async def test_who_waits_for_an_end_that_does_not_come_hears_the_version_when_the_time_is_over(
    database: Database, make_runs: Make
) -> None:
    await make_runs(database, 1)
    await _raise_version(database)
    assert await database.feed.wait(1, after=1, timeout=0.1, until_over=True) == 2


async def _settled(feed: ChangeFeed) -> None:
    assert feed._task is not None
    await asyncio.wait([feed._task])


async def test_nobody_waiting_means_no_queries(
    database: Database, another_database: Database, make_runs: Make
) -> None:
    await make_runs(database, 1)
    await database.feed.wait(1, after=0, timeout=1)
    await _settled(database.feed)
    queries = _Queries(database)
    await _raise_version(database)
    await _raise_version(another_database)
    await asyncio.sleep(CATCH_UP_SECONDS + 0.2)
    assert queries.count == 0


async def test_a_waiter_that_is_cancelled_is_forgotten(database: Database, make_runs: Make) -> None:
    await make_runs(database, 1)
    waiting = asyncio.create_task(database.feed.wait(1, after=1, timeout=30))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await database.feed.wait(1, after=0, timeout=1) == 1


async def test_closing_ends_every_wait(database_url: str, make_runs: Make) -> None:
    database = await open_database(database_url)
    await make_runs(database, 1)
    waiting = asyncio.create_task(database.feed.wait(1, after=1, timeout=30))
    await asyncio.sleep(0)
    await database.aclose()
    assert await waiting == 1
    assert await database.feed.wait(1, after=1, timeout=30) == 1


def _touch_and_fail(write: Write, key: int) -> None:
    write.touch(key)
    raise ZeroDivisionError


async def test_a_block_that_failed_wakes_nobody(database: Database, make_runs: Make) -> None:
    await make_runs(database, 1)
    told: list[frozenset[int]] = []

    class Recorder:
        def start(self, hint: Hint) -> None: ...
        def stop(self) -> None: ...
        async def aclose(self) -> None: ...
        def tell(self, keys: frozenset[int]) -> None:
            told.append(keys)

    async def no_sights(_: Collection[int]) -> Mapping[int, Sight]:
        return {}

    database.feed = ChangeFeed(no_sights, Recorder())
    with pytest.raises(ZeroDivisionError):
        async with database.write() as write:
            _touch_and_fail(write, 1)
    async with database.write() as write:
        write.touch(2)
    async with database.write():
        pass
    assert told == [frozenset({2})]


async def test_a_store_that_fails_for_a_while_is_waited_for() -> None:
    answers: list[Exception | dict[int, Sight]] = [OSError("away"), OSError("away"), {1: Sight(2)}]

    async def flaky(_: Collection[int]) -> Mapping[int, Sight]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    feed = ChangeFeed(flaky, _Silence())
    assert await feed.wait(1, after=1, timeout=30) == 2
    await feed.aclose()


async def test_a_store_that_stays_away_is_an_error_when_the_time_is_over() -> None:
    async def away(_: Collection[int]) -> Mapping[int, Sight]:
        raise OSError("away")

    feed = ChangeFeed(away, _Silence())
    with pytest.raises(OSError, match="away"):
        await feed.wait(1, after=1, timeout=0.1)
    await feed.aclose()


async def test_a_change_of_which_no_hint_comes_is_seen_within_a_second_or_so() -> None:
    versions = iter((1, 2))

    async def read(_: Collection[int]) -> Mapping[int, Sight]:
        return {1: Sight(next(versions))}

    feed = ChangeFeed(read, _Silence())
    async with asyncio.timeout(2 * CATCH_UP_SECONDS):
        assert await feed.wait(1, after=1, timeout=30) == 2
    await feed.aclose()


class _Silence:
    """Hints that never come."""

    def start(self, hint: Hint) -> None: ...
    def stop(self) -> None: ...
    def tell(self, keys: frozenset[int]) -> None: ...
    async def aclose(self) -> None: ...


# -- PostgreSQL's listener -------------------------------------------------------------------------


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
        await _raise_version(another_database)
        async with asyncio.timeout(5):
            assert await waiting == version + 1


@on_postgresql
async def test_without_a_listener_changes_are_seen_within_a_second_or_so(
    another_database: Database, database_url: str, make_runs: Make
) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:9/nothing"
    database = await open_database(database_url, listen_url=nowhere)
    await make_runs(database, 1)
    queries = _Queries(database)
    waiting = asyncio.create_task(database.feed.wait(1, after=1, timeout=30))
    await queries.asked.wait()
    await _raise_version(another_database)
    async with asyncio.timeout(2.5):
        assert await waiting == 2
    await database.aclose()


@on_postgresql
async def test_many_commits_share_a_few_notifications(database_url: str, make_runs: Make) -> None:
    database = await open_database(database_url)
    await make_runs(database, 100)
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as listener:
        await listener.execute(f"LISTEN {CHANNEL}".encode())
        await asyncio.gather(*(_raise_version(database, key) for key in range(1, 101)))
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
async def test_what_was_committed_last_is_told_before_closing(
    database_url: str, make_runs: Make
) -> None:
    database = await open_database(database_url)
    await make_runs(database, 1)
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as listener:
        await listener.execute(f"LISTEN {CHANNEL}".encode())
        await _raise_version(database)
        await database.aclose()
        payloads = [each.payload async for each in listener.notifies(timeout=5, stop_after=1)]
    assert [payload.partition(":")[2] for payload in payloads] == ["1"]
