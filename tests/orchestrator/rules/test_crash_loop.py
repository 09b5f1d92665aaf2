"""When a function counts as one that ends its processes, and for how long it pauses then."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, strategies as st

from orchestrator.rules.crash_loop import (
    FIRST_PAUSE,
    FREE_CRASHES,
    MAX_PAUSE,
    RESET_SECONDS,
    SAME_CRASH_SECONDS,
    CrashLoopBackoff,
    stagger,
)

NOW = 1_000.0


def _after(deaths: int, *, apart: float = SAME_CRASH_SECONDS) -> CrashLoopBackoff:
    backoff = CrashLoopBackoff()
    for number in range(deaths):
        backoff = backoff.after_death(NOW + (number - deaths + 1) * apart)
    return backoff


def test_some_deaths_are_spared_and_pauses_double_until_they_are_long_enough() -> None:
    pauses = [_after(deaths).pause_left(NOW) for deaths in range(1, FREE_CRASHES + 7)]
    assert pauses == [0, 0, FIRST_PAUSE, 4, 8, 16, MAX_PAUSE, MAX_PAUSE]


def test_a_pause_is_over_when_it_is_over() -> None:
    backoff = _after(FREE_CRASHES + 1)
    assert backoff.pause_left(NOW + FIRST_PAUSE / 2) == FIRST_PAUSE / 2
    assert backoff.pause_left(NOW + FIRST_PAUSE) == 0
    assert backoff.pause_left(NOW + RESET_SECONDS) == 0


def test_what_is_lost_together_is_one_death_and_what_is_long_ago_none() -> None:
    assert _after(50, apart=SAME_CRASH_SECONDS / 100).deaths == 1
    assert _after(50, apart=RESET_SECONDS + 1).deaths == 1


@given(st.lists(st.floats(0, 200), max_size=60))
def test_no_call_ever_waits_longer_than_the_longest_pause(gaps: list[float]) -> None:
    backoff, now = CrashLoopBackoff(), NOW
    for gap in gaps:
        now += gap
        backoff = backoff.after_death(now)
        assert 0 <= backoff.pause_left(now) <= MAX_PAUSE


def test_functions_that_one_death_took_begin_again_one_after_the_other() -> None:
    """Else the innocent would die with the other one each time."""
    backoffs = {
        "a": _after(FREE_CRASHES + 2),
        "b": _after(FREE_CRASHES + 1),
        "c": _after(FREE_CRASHES + 1),
    }
    released = stagger(backoffs, NOW)
    order = sorted(released, key=lambda name: released[name].paused_until)
    assert order == ["b", "c", "a"]
    assert all(
        released[later].paused_until - released[sooner].paused_until >= SAME_CRASH_SECONDS
        for sooner, later in pairwise(order)
    )


def test_one_that_does_not_pause_is_held_up_by_nothing() -> None:
    backoffs = {"a": _after(FREE_CRASHES), "b": _after(FREE_CRASHES + 1)}
    assert stagger(backoffs, NOW) == backoffs
