"""Crash-loop backoff: delays a function's next call after consecutive process crashes.

The attempts of one call are limited. But repeated calls of the model, or many runs at once, would crash the process
again and again, and with it the other functions that it serves. Times are in seconds, of any clock.
"""

from __future__ import annotations

from dataclasses import dataclass

FREE_CRASHES = 2
"""Consecutive crashes that cause no delay yet."""
SAME_CRASH_SECONDS = 1.0
"""Seconds. Calls lost within this interval count as one crash."""
FIRST_PAUSE = 2.0
MAX_PAUSE = 30.0
RESET_SECONDS = 120.0
"""Seconds after which a crash no longer counts."""
WARNING = "%s: %d consecutive crashes without a result; its next call waits %g s"


@dataclass(frozen=True, slots=True)
class CrashLoopBackoff:
    """Consecutive crashes of one function's processes without a result in between."""

    deaths: int = 0
    last: float = 0.0
    paused_until: float = 0.0
    """The time at which its next call may run."""

    def after_death(self, now: float) -> CrashLoopBackoff:
        """Return the backoff with one more crash; unchanged if this is still the last one."""
        since = now - self.last
        if self.deaths and since < SAME_CRASH_SECONDS:
            return self
        deaths = 1 if since > RESET_SECONDS else self.deaths + 1
        if deaths <= FREE_CRASHES:
            return CrashLoopBackoff(deaths, now)
        pause = min(MAX_PAUSE, FIRST_PAUSE * 2.0 ** min(deaths - FREE_CRASHES - 1, 10))
        return CrashLoopBackoff(deaths, now, now + pause)

    def pause_left(self, now: float) -> float:
        """Return the seconds that its next call must wait; 0: none."""
        return max(0.0, self.paused_until - now)


def stagger(backoffs: dict[str, CrashLoopBackoff], now: float) -> dict[str, CrashLoopBackoff]:
    """Return the backoffs of functions whose calls one crash lost; the delayed ones restart one after the other.

    Possibly only one of them is the cause; running each alone identifies it. The least suspect is first.
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
