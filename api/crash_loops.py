"""Functions in which one process after another dies: they are offered more and more rarely, all others as before.

A call alone is tried no more often than its attempts allow. But a model that asks again, or many runs at once, would
keep the function worker down, and with it whatever else it serves.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_log = logging.getLogger(__name__)

SPARED = 2
"""Deaths in a row after which nothing is held back yet."""
TOGETHER = 1.0
"""Seconds. Calls that come back this close to each other were lost by one and the same death."""
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 30.0
FORGOTTEN = 120.0
"""Seconds after which a death says nothing about the next one."""
_REMEMBERED = 10_000
"""Calls at work of which is known here whose they are."""


@dataclass(slots=True)
class _Streak:
    deaths: int = 0
    last: float = 0.0
    until: float = 0.0


class CrashLoops:
    """What this process saw of calls that came back without a result, by task queue."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._streaks: dict[str, _Streak] = {}
        self._at_work: OrderedDict[str, str] = OrderedDict()

    def handed_out(self, call_id: str, queue: str, attempt: int) -> None:
        """A machine has the call; at a later attempt, because the former one came back."""
        self._at_work[call_id] = queue
        if len(self._at_work) > _REMEMBERED:
            self._at_work.popitem(last=False)
        if attempt > 1:
            self.came_back(queue)

    def answered(self, call_id: str) -> None:
        """A result came, a failure or not: the function's process lives."""
        queue = self._at_work.pop(call_id, None)
        if queue is not None:
            self._streaks.pop(queue, None)

    def came_back(self, queue: str) -> None:
        """A call came back without a result, as from a process that died."""
        now, streak = self._clock(), self._streaks.setdefault(queue, _Streak())
        since = now - streak.last
        if streak.deaths and since < TOGETHER:
            return
        streak.deaths = 1 if since > FORGOTTEN else streak.deaths + 1
        streak.last = now
        if streak.deaths > SPARED:
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (streak.deaths - SPARED - 1))
            streak.until = now + pause
            _log.warning(
                "%s: %d times in a row no result came back; its next call waits %g s",
                *(queue, streak.deaths, pause),
            )

    def is_pausing(self, queue: str) -> bool:
        """Whether the function is not to be offered just now."""
        streak = self._streaks.get(queue)
        return streak is not None and self._clock() < streak.until
