"""Nudges to Temporal that nobody waits for: the wish is in the store, and the sweeper nudges again where one is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from orchestrator.errors import UnavailableError
from orchestrator.runtime.failpoints import Point, reach

_log = logging.getLogger(__name__)

AT_ONCE = 32
"""Nudges under way at the same time. A burst of thousands at once would have the engine answer none of them in time."""
MAX_WAITING = 1_000
"""Nudges that wait for their turn; what comes on top is left to the sweeper."""

Nudge = Coroutine[Any, Any, None]


class Nudges:
    """Sends nudges in the background, in the order in which they came."""

    def __init__(self, *, at_once: int = AT_ONCE, max_waiting: int = MAX_WAITING) -> None:
        self._turnstile = asyncio.Semaphore(at_once)
        self._most = at_once + max_waiting
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def send(self, nudge: Nudge) -> None:
        """Send it soon. Returns at once."""
        if len(self._tasks) >= self._most:
            nudge.close()
            return
        task = asyncio.create_task(self._send(nudge))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, nudge: Nudge) -> None:
        async with self._turnstile:
            if self._closing:
                nudge.close()
                return
            try:
                await nudge
                reach(Point.WORKFLOW_STARTED)
            except UnavailableError as error:
                _log.warning("The sweeper will nudge the run: %s", error)

    async def aclose(self) -> None:
        """Let those that are under way finish; the others are left to the sweeper."""
        self._closing = True
        await asyncio.gather(*self._tasks, return_exceptions=True)
