"""Sends wake-up signals to Temporal in the background: callers do not wait, and the sweeper repeats lost ones."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any

from orchestrator.errors import UnavailableError
from orchestrator.runtime.failpoints import Point, reach
from orchestrator.temporal.client import Temporal
from orchestrator.workflows.wakeups import Wakeup, WakeupKind

_log = logging.getLogger(__name__)

MAX_CONCURRENT = 32
"""Limit of concurrent requests to Temporal. In a burst of thousands all would time out."""
MAX_WAITING = 1_000
"""Limit of queued requests; the sweeper handles the excess."""


class WakeupSender:
    """Sends the wake-up signals of committed transactions. A burst of new runs does not delay those of running ones."""

    def __init__(
        self,
        temporal: Temporal,
        *,
        max_concurrent: int = MAX_CONCURRENT,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._temporal = temporal
        self._starts = _Queue(max_concurrent, max_waiting)
        self._signals = _Queue(max_concurrent, max_waiting)

    def send(self, wakeups: Iterable[Wakeup]) -> None:
        """Queue the signals in order and return at once."""
        for wakeup in wakeups:
            match wakeup.kind:
                case WakeupKind.START:
                    reach(Point.ROW_WRITTEN)
                    start = self._temporal.start_run(wakeup.run, priority=wakeup.priority)
                    self._starts.send(start)
                case WakeupKind.RUN:
                    reach(Point.REQUEST_WRITTEN)
                    self._signals.send(self._temporal.signal_run(wakeup.run))
                case WakeupKind.DELIVERY:
                    self._signals.send(self._temporal.signal_delivery(wakeup.run))

    async def aclose(self) -> None:
        """Wait for requests in flight; queued ones are left to the sweeper."""
        await asyncio.gather(self._starts.aclose(), self._signals.aclose())


class _Queue:
    """A queue of requests, sent in order with limited concurrency."""

    def __init__(self, max_concurrent: int, max_waiting: int) -> None:
        self._slots = asyncio.Semaphore(max_concurrent)
        self._most = max_concurrent + max_waiting
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def send(self, request: Coroutine[Any, Any, None]) -> None:
        if len(self._tasks) >= self._most:
            request.close()
            return
        task = asyncio.create_task(self._send(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, request: Coroutine[Any, Any, None]) -> None:
        async with self._slots:
            if self._closing:
                request.close()
                return
            try:
                await request
                reach(Point.WORKFLOW_STARTED)
            except UnavailableError as error:
                _log.warning("a wake-up signal failed and is left to the sweeper: %s", error)

    async def aclose(self) -> None:
        self._closing = True
        await asyncio.gather(*self._tasks, return_exceptions=True)
