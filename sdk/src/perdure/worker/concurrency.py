"""Limits the concurrent calls of a process, per function and in total."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from perdure.functions.functions import Function


class ConcurrencyLimiter:
    """Counts running calls.

    The total limit is applied when a poll starts: open polls may return a few more calls.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running: Counter[Function[..., Any]] = Counter()
        self._callbacks: list[Callable[[], None]] = []

    def available(self, function: Function[..., Any]) -> int:
        """Return how many more calls of this function a poll may request."""
        free = self._limit - self._running.total()
        return max(0, min(free, function.concurrency - self._running[function]))

    def acquire(self, function: Function[..., Any]) -> None:
        """Count a call that has begun."""
        self._running[function] += 1

    def release(self, function: Function[..., Any]) -> None:
        """Count a call that has ended and notify the listeners."""
        self._running[function] -= 1
        for callback in self._callbacks:
            callback()

    def on_release(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever capacity is freed."""
        self._callbacks.append(callback)
