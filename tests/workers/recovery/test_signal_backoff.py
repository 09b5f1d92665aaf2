"""A run is signalled at once if its signal was lost, and seldom where the engine is only busy."""

from __future__ import annotations

from itertools import pairwise

from orchestrator.workflows.interface import RunRef
from workers.recovery.signal_backoff import FIRST_PAUSE, MAX_PAUSE, SignalBackoff

_A, _B = RunRef("c", "a"), RunRef("c", "b")


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _signalled(unread: SignalBackoff, *refs: RunRef) -> list[RunRef]:
    due = unread.due(refs)
    for ref in due:
        unread.record_signal(ref)
    return due


def test_the_first_signal_is_at_once_and_each_pause_is_twice_the_one_before() -> None:
    clock = _Clock()
    unread, signalled = SignalBackoff(clock), list[float]()
    for second in range(600):
        clock.now = float(second)
        if _signalled(unread, _A):
            signalled.append(clock.now)
    pauses = [after - before for before, after in pairwise(signalled)]
    assert signalled[0] == 0
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert max(pauses) == MAX_PAUSE


def test_a_run_that_was_heard_begins_anew() -> None:
    unread = SignalBackoff(_Clock())
    assert _signalled(unread, _A, _B) == [_A, _B]
    assert _signalled(unread, _B) == []
    assert _signalled(unread, _A, _B) == [_A]


def test_a_signal_that_the_engine_did_not_take_does_not_count() -> None:
    unread = SignalBackoff(_Clock())
    assert unread.due([_A]) == [_A]
    assert unread.due([_A]) == [_A]
