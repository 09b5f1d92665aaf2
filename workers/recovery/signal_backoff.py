"""Which runs with an unread wish are nudged now.

A nudge that was lost is made good at once. But where the engine is only busy, the wish of a thousand runs is unread for
a while, and a signal to each of them at each sweep would keep it busy with nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from orchestrator.workflows.interface import RunRef

FIRST_PAUSE = 15.0
"""Seconds from a run's first nudge to its second; each pause is twice the one before."""
MAX_PAUSE = 120.0


class _Signalled(NamedTuple):
    again_at: float
    pause: float


class SignalBackoff:
    """What one process remembers of the runs that it nudged and that have not read their wishes yet."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._signalled: dict[RunRef, _Signalled] = {}

    def due(self, unread: Sequence[RunRef]) -> list[RunRef]:
        """Those of all unheard runs that are to be nudged now; what is not among them has been heard."""
        self._signalled = {ref: self._signalled[ref] for ref in unread if ref in self._signalled}
        now = self._clock()
        return [
            ref
            for ref in unread
            if ref not in self._signalled or self._signalled[ref].again_at <= now
        ]

    def record_signal(self, ref: RunRef) -> None:
        """The engine took a nudge for it."""
        before = self._signalled.get(ref)
        pause = FIRST_PAUSE if before is None else min(MAX_PAUSE, before.pause * 2)
        self._signalled[ref] = _Signalled(self._clock() + pause, pause)
