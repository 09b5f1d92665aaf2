"""The change feed: nobody waits longer than needed, whoever made the change, and waiting costs next to nothing."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import pytest
from sqlalchemy import delete, update

from orchestrator.store.database.changes.change_feed import CATCH_UP_SECONDS, ChangeFeed, RunVersion
from orchestrator.store.database.changes.postgres_source import PostgresChangeSource
from orchestrator.store.database.changes.sqlite_source import Notify
from orchestrator.store.database.engine import Database, Write, open_database
from orchestrator.store.tables import runs
from tests.orchestrator.store.database.changes.changes import (
    WAKE_SECONDS,
    Make,
    Queries,
    SilentSource,
    raise_version,
)

StartPeer = Callable[..., Awaitable[Any]]


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
        write.mark_changed(1)
    assert await waiting == 0


async def test_a_commit_of_this_process_wakes_at_once_without_any_hint(
    database: Database, make_runs: Make
) -> None:
    await make_runs(database, 1)
    database.feed = ChangeFeed(database._read_versions, SilentSource())
    delays: list[float] = []
    for version in range(1, 21):
        waiting = asyncio.create_task(database.feed.wait(1, after=version, timeout=30))
        await asyncio.sleep(0)
        await raise_version(database)
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
        await other.send_line("1")
        assert await waiting == version + 1
        delays.append(time.monotonic() - asked)
    assert statistics.median(delays) < WAKE_SECONDS
    assert await other.leaves() == 0


async def test_two_hundred_waiters_on_one_run_cost_a_handful_of_queries(
    database: Database, make_runs: Make
) -> None:
    await make_runs(database, 1)
    queries = Queries(database)
    waiting = [asyncio.create_task(database.feed.wait(1, after=1, timeout=30)) for _ in range(200)]
    await queries.refreshed.wait()
    await raise_version(database)
    assert await asyncio.gather(*waiting) == [2] * 200
    assert queries.count <= 6


async def test_waiters_on_two_hundred_runs_cost_a_handful_of_queries(
    database: Database, another_database: Database, make_runs: Make
) -> None:
    await make_runs(database, 200)
    queries = Queries(database)
    waiting = [
        asyncio.create_task(database.feed.wait(key, after=1, timeout=30)) for key in range(1, 201)
    ]
    await queries.refreshed.wait()
    async with another_database.write() as write:
        await write.execute(update(runs).values(version=2))
        for key in range(1, 201):
            write.mark_changed(key)
    assert await asyncio.gather(*waiting) == [2] * 200
    assert queries.count <= 8


async def test_only_the_runs_that_changed_wake(database: Database, make_runs: Make) -> None:
    await make_runs(database, 2)
    first = asyncio.create_task(database.feed.wait(1, after=1, timeout=30))
    second = asyncio.create_task(database.feed.wait(2, after=1, timeout=30))
    await asyncio.sleep(0)
    await raise_version(database, 2)
    assert await second == 2
    assert not first.done()
    first.cancel()


async def test_only_the_run_that_another_process_changed_is_read(
    database: Database, another_database: Database, make_runs: Make
) -> None:
    await make_runs(database, 20)
    queries = Queries(database)
    waiting = [
        asyncio.create_task(database.feed.wait(key, after=1, timeout=30)) for key in range(1, 21)
    ]
    await queries.refreshed.wait()
    hints = database.feed._changes
    if isinstance(hints, PostgresChangeSource):
        await hints.listening.wait()
    alone = 0
    for key in range(1, 21):
        looks = len(queries.refreshes)
        await raise_version(another_database, key)
        assert await waiting[key - 1] == 2
        alone += {key} in queries.refreshes[looks:]
    assert alone > 10  # once in a while all are looked at, and that may just be


async def test_all_are_read_once_a_second_also_while_others_are_notified() -> None:
    async def read(keys: Collection[int]) -> Mapping[int, RunVersion]:
        return {key: RunVersion(2 if 1 in keys and len(keys) > 1 else 1) for key in keys}

    feed = ChangeFeed(read, SilentSource())
    other = asyncio.create_task(feed.wait(2, after=9, timeout=30))
    waiting = asyncio.create_task(feed.wait(1, after=1, timeout=30))
    async with asyncio.timeout(3 * CATCH_UP_SECONDS):
        while not waiting.done():
            feed.notify([2])
            await asyncio.wait({waiting}, timeout=CATCH_UP_SECONDS / 20)
    assert waiting.result() == 2
    other.cancel()
    await feed.aclose()


async def test_who_waits_for_the_end_is_not_woken_before(
    database: Database, make_runs: Make
) -> None:
    await make_runs(database, 1)
    waiting = asyncio.create_task(database.feed.wait(1, after=1, timeout=30, until_final=True))
    assert await database.feed.wait(1, after=0, timeout=30) == 1
    await raise_version(database)
    assert await database.feed.wait(1, after=1, timeout=30) == 2  # both were looked at
    assert not waiting.done()
    async with database.write() as write:
        await write.execute(update(runs).where(runs.c.key == 1).values(status="done", version=3))
        write.mark_changed(1)
    assert await waiting == 3


async def test_who_waits_for_an_end_that_does_not_come_gets_the_version_when_the_time_is_over(
    database: Database, make_runs: Make
) -> None:
    await make_runs(database, 1)
    await raise_version(database)
    assert await database.feed.wait(1, after=1, timeout=0.1, until_final=True) == 2


async def _settled(feed: ChangeFeed) -> None:
    assert feed._task is not None
    await asyncio.wait([feed._task])


async def test_nobody_waiting_means_no_queries(
    database: Database, another_database: Database, make_runs: Make
) -> None:
    await make_runs(database, 1)
    await database.feed.wait(1, after=0, timeout=1)
    await _settled(database.feed)
    queries = Queries(database)
    await raise_version(database)
    await raise_version(another_database)
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
    write.mark_changed(key)
    raise ZeroDivisionError


async def test_a_block_that_failed_wakes_nobody(database: Database, make_runs: Make) -> None:
    await make_runs(database, 1)
    notified: list[frozenset[int]] = []

    class Recorder:
        def start(self, notify: Notify) -> None: ...
        def stop(self) -> None: ...
        async def aclose(self) -> None: ...
        def publish(self, keys: frozenset[int]) -> None:
            notified.append(keys)

    async def no_versions(_: Collection[int]) -> Mapping[int, RunVersion]:
        return {}

    database.feed = ChangeFeed(no_versions, Recorder())
    with pytest.raises(ZeroDivisionError):
        async with database.write() as write:
            _touch_and_fail(write, 1)
    async with database.write() as write:
        write.mark_changed(2)
    async with database.write():
        pass
    assert notified == [frozenset({2})]


async def test_a_store_that_fails_for_a_while_is_waited_for() -> None:
    answers: list[Exception | dict[int, RunVersion]] = [
        OSError("away"),
        OSError("away"),
        {1: RunVersion(2)},
    ]

    async def flaky(_: Collection[int]) -> Mapping[int, RunVersion]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    feed = ChangeFeed(flaky, SilentSource())
    assert await feed.wait(1, after=1, timeout=30) == 2
    await feed.aclose()


async def test_a_store_that_stays_away_is_an_error_when_the_time_is_over() -> None:
    async def away(_: Collection[int]) -> Mapping[int, RunVersion]:
        raise OSError("away")

    feed = ChangeFeed(away, SilentSource())
    with pytest.raises(OSError, match="away"):
        await feed.wait(1, after=1, timeout=0.1)
    await feed.aclose()


async def test_a_change_of_which_no_hint_comes_is_seen_within_a_second_or_so() -> None:
    versions = iter((1, 2))

    async def read(_: Collection[int]) -> Mapping[int, RunVersion]:
        return {1: RunVersion(next(versions))}

    feed = ChangeFeed(read, SilentSource())
    async with asyncio.timeout(2 * CATCH_UP_SECONDS):
        assert await feed.wait(1, after=1, timeout=30) == 2
    await feed.aclose()
