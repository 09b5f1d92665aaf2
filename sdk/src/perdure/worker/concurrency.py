"""How much a process works on at once: per function, and over all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from perdure.functions.functions import Function


class Slots:
    """Counts calls at work.

    The limit over all is kept when calls are asked for: polls that are already out may bring a few more.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[Function[..., Any]] = Counter()
        self._watchers: list[Callable[[], None]] = []

    def room(self, function: Function[..., Any]) -> int:
        """How many more calls of this function may be asked for."""
        free = self._most - self._taken.total()
        return max(0, min(free, function.concurrency - self._taken[function]))

    def take(self, function: Function[..., Any]) -> None:
        """A call has begun."""
        self._taken[function] += 1

    def release(self, function: Function[..., Any]) -> None:
        """A call has ended: whoever waits for room is told."""
        self._taken[function] -= 1
        for watcher in self._watchers:
            watcher()

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` whenever there is more room than before."""
        self._watchers.append(watcher)
