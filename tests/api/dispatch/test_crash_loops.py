"""A function in which its process dies again and again is offered more and more rarely."""

from __future__ import annotations

from api.dispatch.crash_loops import CrashLoopTracker
from orchestrator.rules.crash_loop import FREE_CRASHES, MAX_PAUSE, RESET_SECONDS, SAME_CRASH_SECONDS


class _Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def _dying(loops: CrashLoopTracker, clock: _Clock, times: int, queue: str = "bad") -> list[float]:
    """The pauses after so many deaths, one after the other."""
    pauses: list[float] = []
    for _ in range(times):
        clock.now += SAME_CRASH_SECONDS
        loops.record_lease("a call", queue, attempt=2)
        began = clock.now
        while loops.is_pausing(queue):
            clock.now += 0.5
        pauses.append(clock.now - began)
    return pauses


def test_pauses_grow_and_have_an_end() -> None:
    clock = _Clock()
    pauses = _dying(CrashLoopTracker(clock), clock, FREE_CRASHES + 6)
    assert pauses == [0, 0, 2, 4, 8, 16, MAX_PAUSE, MAX_PAUSE]


def test_other_functions_are_offered_as_before() -> None:
    clock = _Clock()
    loops = CrashLoopTracker(clock)
    for _ in range(FREE_CRASHES + 1):
        clock.now += SAME_CRASH_SECONDS
        loops.record_lost("bad")
    assert loops.is_pausing("bad")
    assert not loops.is_pausing("good")


def test_many_calls_lost_by_one_death_are_one_death() -> None:
    clock = _Clock()
    loops = CrashLoopTracker(clock)
    for number in range(50):
        loops.record_lease(str(number), "busy", attempt=2)
    assert not loops.is_pausing("busy")


def test_a_result_ends_the_streak() -> None:
    clock = _Clock()
    loops = CrashLoopTracker(clock)
    for number in range(20):
        clock.now += SAME_CRASH_SECONDS
        loops.record_lease(str(number), "shaky", attempt=2)
        loops.record_result(str(number))
    assert not loops.is_pausing("shaky")


def test_a_first_attempt_says_nothing() -> None:
    clock = _Clock()
    loops = CrashLoopTracker(clock)
    for number in range(20):
        clock.now += SAME_CRASH_SECONDS
        loops.record_lease(str(number), "new", attempt=1)
    assert not loops.is_pausing("new")


def test_a_death_long_ago_is_forgotten() -> None:
    clock = _Clock()
    loops = CrashLoopTracker(clock)
    for _ in range(20):
        clock.now += RESET_SECONDS + 1
        loops.record_lost("old")
    assert not loops.is_pausing("old")
