"""How much a process works on at once: per function, and over all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from perdure.functions.functions import Function


class ConcurrencyLimiter:
    """Counts calls at work.

    The limit over all is kept when calls are asked for: polls that are already out may bring a few more.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running: Counter[Function[..., Any]] = Counter()
        self._callbacks: list[Callable[[], None]] = []

    def available(self, function: Function[..., Any]) -> int:
        """How many more calls of this function may be asked for."""
        free = self._limit - self._running.total()
        return max(0, min(free, function.concurrency - self._running[function]))

    def acquire(self, function: Function[..., Any]) -> None:
        """A call has begun."""
        self._running[function] += 1

    def release(self, function: Function[..., Any]) -> None:
        """A call has ended: whoever waits for room is told."""
        self._running[function] -= 1
        for callback in self._callbacks:
            callback()

    def on_release(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever there is more room than before."""
        self._callbacks.append(callback)
