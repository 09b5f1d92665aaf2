"""Functions of which only so many calls may be at work at once: while they are, nothing is polled for them.

So calls stay in Temporal's queue, in its order, and nobody takes them only to give them back. The store has the last
word, under a lock that all processes respect; what is known here may be old.
"""

from __future__ import annotations

import asyncio

from orchestrator.store.calls.execution import CallStore
from orchestrator.store.calls.rows import parse_task_queue

RECHECK_DELAY = 0.25
"""Seconds after which a full function is looked at again: calls may end in other processes."""


class ConcurrencyGates:
    """What this process knows of functions' limits, learned from the calls that it hands out."""

    def __init__(self, calls: CallStore) -> None:
        self._calls = calls
        self._limits: dict[str, int] = {}
        self._released = asyncio.Event()

    def set_limit(self, queue: str, limit: int | None) -> None:
        """The limit that the function's newest call came with; None: no limit."""
        if limit is None:
            self._limits.pop(queue, None)
        else:
            self._limits[queue] = limit

    def release(self) -> None:
        """A call has ended here: whoever waits looks again."""
        self._released.set()
        self._released = asyncio.Event()

    async def is_open(self, queue: str) -> bool:
        """Whether a call of this function may be polled for."""
        limit = self._limits.get(queue)
        return limit is None or await self._calls.count_running(*parse_task_queue(queue)) < limit

    async def wait(self) -> None:
        """Wait until it is worth while to look again."""
        try:
            await asyncio.wait_for(self._released.wait(), RECHECK_DELAY)
        except TimeoutError:
            return
