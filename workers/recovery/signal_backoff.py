"""Decides which runs with an unread request get another wake-up signal now.

A lost signal is repeated at once. A busy Temporal server is different: a thousand runs can have an unread request for a
while, and a signal to each of them in every sweep would only add to the load.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from orchestrator.workflows.interface import RunRef

FIRST_PAUSE = 15.0
"""Seconds between the first and the second signal to a run. Each pause is twice the one before."""
MAX_PAUSE = 120.0


class _Signalled(NamedTuple):
    again_at: float
    pause: float


class SignalBackoff:
    """The runs that this process signalled and that have not read their requests yet."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._signalled: dict[RunRef, _Signalled] = {}

    def due(self, unread: Sequence[RunRef]) -> list[RunRef]:
        """The runs to signal now. A run that is not in `unread` has read its requests and is forgotten."""
        self._signalled = {ref: self._signalled[ref] for ref in unread if ref in self._signalled}
        now = self._clock()
        return [
            ref
            for ref in unread
            if ref not in self._signalled or self._signalled[ref].again_at <= now
        ]

    def record_signal(self, ref: RunRef) -> None:
        """Temporal accepted a signal to the run."""
        before = self._signalled.get(ref)
        pause = FIRST_PAUSE if before is None else min(MAX_PAUSE, before.pause * 2)
        self._signalled[ref] = _Signalled(self._clock() + pause, pause)
