"""Concurrency limits of functions: while a function is at its limit, no call of it is polled for.

So calls stay in Temporal's queue, in its order, and are not leased only to be returned. The store decides,
under a lock that all processes respect; the knowledge of this module may be outdated.
"""

from __future__ import annotations

import asyncio

from orchestrator.store.calls.execution import CallStore
from orchestrator.store.calls.rows import parse_task_queue

RECHECK_DELAY = 0.25
"""Seconds after which a function at its limit is tried again: calls may end in other processes."""


class ConcurrencyGates:
    """The limits of functions, as this process learned them from the calls that it dispatched."""

    def __init__(self, calls: CallStore) -> None:
        self._calls = calls
        self._limits: dict[str, int] = {}
        self._released = asyncio.Event()

    def set_limit(self, queue: str, limit: int | None) -> None:
        """Record the limit of the function's newest call; None: no limit."""
        if limit is None:
            self._limits.pop(queue, None)
        else:
            self._limits[queue] = limit

    def release(self) -> None:
        """Wake waiting polls, after a call has ended."""
        self._released.set()
        self._released = asyncio.Event()

    async def is_open(self, queue: str) -> bool:
        """Whether calls of this function may be polled for."""
        limit = self._limits.get(queue)
        return limit is None or await self._calls.count_running(*parse_task_queue(queue)) < limit

    async def wait(self) -> None:
        """Wait until a call of the function may have ended."""
        try:
            await asyncio.wait_for(self._released.wait(), RECHECK_DELAY)
        except TimeoutError:
            return
