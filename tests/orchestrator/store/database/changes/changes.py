"""Changes of runs for the tests of the feed, and what is noticed of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

from sqlalchemy import update

from orchestrator.store.database.changes.change_feed import ChangeFeed, RunVersion
from orchestrator.store.database.changes.sqlite_source import Notify
from orchestrator.store.database.engine import Database
from orchestrator.store.tables import runs

Make = Callable[[Database, int], Awaitable[None]]
WAKE_SECONDS = 0.03
"""The median a waiter may need to hear of a commit (measured: 0.3 ms in this process, 2-7 ms from another)."""


async def raise_version(database: Database, key: int = 1) -> None:
    async with database.write() as write:
        statement = update(runs).where(runs.c.key == key).values(version=runs.c.version + 1)
        await write.execute(statement)
        write.mark_changed(key)


class Queries:
    """Counts what the feed asks: each look is one query."""

    def __init__(self, database: Database) -> None:
        self.count = 0
        self.refreshes: list[set[int]] = []
        self.refreshed = asyncio.Event()
        self._read = database._read_versions
        database.feed = ChangeFeed(self._count, database.feed._changes)

    async def _count(self, keys: Collection[int]) -> Mapping[int, RunVersion]:
        self.count += 1
        self.refreshes.append(set(keys))
        self.refreshed.set()
        return await self._read(keys)


class SilentSource:
    """Hints that never come."""

    def start(self, notify: Notify) -> None: ...
    def stop(self) -> None: ...
    def publish(self, keys: frozenset[int]) -> None: ...
    async def aclose(self) -> None: ...
