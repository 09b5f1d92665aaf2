"""Crash-loop backoff: functions whose processes crash again and again are dispatched with growing delays."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable

from orchestrator.rules.crash_loop import WARNING, CrashLoopBackoff

_log = logging.getLogger(__name__)

_MAX_TRACKED_CALLS = 10_000
"""Maximum running calls whose machine is remembered."""


class CrashLoopTracker:
    """Crashes by task queue, as this process saw them: calls that returned without a result."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._backoffs: dict[str, CrashLoopBackoff] = {}
        self._running: OrderedDict[str, str] = OrderedDict()

    def record_lease(self, call_id: str, queue: str, attempt: int) -> None:
        """Record that a machine leased the call; a later attempt means that the former one returned without a result."""
        self._running[call_id] = queue
        if len(self._running) > _MAX_TRACKED_CALLS:
            self._running.popitem(last=False)
        if attempt > 1:
            self.record_lost(queue)

    def record_result(self, call_id: str) -> None:
        """Record a result, success or failure: the function's process lives."""
        queue = self._running.pop(call_id, None)
        if queue is not None:
            self._backoffs.pop(queue, None)

    def record_lost(self, queue: str) -> None:
        """Record a call that returned without a result, as from a crashed process."""
        now, known = self._clock(), self._backoffs.get(queue, CrashLoopBackoff())
        self._backoffs[queue] = backoff = known.after_death(now)
        pause = backoff.pause_left(now)
        if backoff is not known and pause:
            _log.warning(WARNING, queue, backoff.deaths, pause)

    def is_pausing(self, queue: str) -> bool:
        """Whether calls of the function are delayed now."""
        backoff = self._backoffs.get(queue)
        return backoff is not None and backoff.pause_left(self._clock()) > 0
