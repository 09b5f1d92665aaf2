"""Ids that sort by their creation time (ULIDs)."""

from __future__ import annotations

from threading import Lock

from ulid import ULIDGenerator

from orchestrator.runtime.clock import now_ms


class _ForwardClock:
    """A clock in milliseconds that never runs backwards, even when the machine's clock does."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> int:
        self._last = max(self._last, now_ms())
        return self._last


_generator = ULIDGenerator(clock=_ForwardClock())
_lock = Lock()


def new_id() -> str:
    """A new id of 26 characters. Ids created in one process sort in the order of their creation."""
    # The generator reads its clock outside its own lock; two threads could swap places there.
    with _lock:
        return str(_generator.generate())
