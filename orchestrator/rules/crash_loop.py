"""How often a function's processes died one after the other, and how long its next call waits because of that.

A call alone is tried no more often than its attempts allow. But a model that asks again, or many runs at once, would
keep the process down, and with it whatever else it serves. Times are in seconds, of any clock.
"""

from __future__ import annotations

from dataclasses import dataclass

FREE_CRASHES = 2
"""Deaths in a row after which nothing is held back yet."""
SAME_CRASH_SECONDS = 1.0
"""Seconds. Calls that come back this close to each other were lost by one and the same death."""
FIRST_PAUSE = 2.0
MAX_PAUSE = 30.0
RESET_SECONDS = 120.0
"""Seconds after which a death says nothing about the next one."""
WARNING = "%s: %d times in a row no result came back; its next call waits %g s"


@dataclass(frozen=True, slots=True)
class CrashLoopBackoff:
    """Deaths of one function's processes without a result in between."""

    deaths: int = 0
    last: float = 0.0
    paused_until: float = 0.0
    """When its next call may be made."""

    def after_death(self, now: float) -> CrashLoopBackoff:
        """The backoff with one more death; unchanged where that is still the last one."""
        since = now - self.last
        if self.deaths and since < SAME_CRASH_SECONDS:
            return self
        deaths = 1 if since > RESET_SECONDS else self.deaths + 1
        if deaths <= FREE_CRASHES:
            return CrashLoopBackoff(deaths, now)
        pause = min(MAX_PAUSE, FIRST_PAUSE * 2.0 ** min(deaths - FREE_CRASHES - 1, 10))
        return CrashLoopBackoff(deaths, now, now + pause)

    def pause_left(self, now: float) -> float:
        """Seconds that its next call must wait; 0: none."""
        return max(0.0, self.paused_until - now)


def stagger(backoffs: dict[str, CrashLoopBackoff], now: float) -> dict[str, CrashLoopBackoff]:
    """The backoffs of functions whose calls one death took: those that pause begin again one after the other.

    Only one of them may be the cause, and whichever begins alone shows whether it is. The least suspect is first.
    """
    pausing = [name for name, backoff in backoffs.items() if backoff.pause_left(now)]
    pausing.sort(key=lambda name: (backoffs[name].deaths, name))
    later = {
        name: CrashLoopBackoff(
            each.deaths, each.last, each.paused_until + place * SAME_CRASH_SECONDS
        )
        for place, name in enumerate(pausing)
        for each in [backoffs[name]]
    }
    return backoffs | later
