"""How often a function's processes died one after the other, and how long its next call waits because of that.

A call alone is tried no more often than its attempts allow. But a model that asks again, or many runs at once, would
keep the process down, and with it whatever else it serves. Times are in seconds, of any clock.
"""

from __future__ import annotations

from dataclasses import dataclass

SPARED = 2
"""Deaths in a row after which nothing is held back yet."""
TOGETHER = 1.0
"""Seconds. Calls that come back this close to each other were lost by one and the same death."""
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 30.0
FORGOTTEN = 120.0
"""Seconds after which a death says nothing about the next one."""
WARNING = "%s: %d times in a row no result came back; its next call waits %g s"


@dataclass(frozen=True, slots=True)
class CrashStreak:
    """Deaths of one function's processes without a result in between."""

    deaths: int = 0
    last: float = 0.0
    until: float = 0.0
    """When its next call may be made."""

    def after_death(self, now: float) -> CrashStreak:
        """The streak with one more death; unchanged where that is still the last one."""
        since = now - self.last
        if self.deaths and since < TOGETHER:
            return self
        deaths = 1 if since > FORGOTTEN else self.deaths + 1
        if deaths <= SPARED:
            return CrashStreak(deaths, now)
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(deaths - SPARED - 1, 10))
        return CrashStreak(deaths, now, now + pause)

    def pause_left(self, now: float) -> float:
        """Seconds that its next call must wait; 0: none."""
        return max(0.0, self.until - now)


def released_in_turn(streaks: dict[str, CrashStreak], now: float) -> dict[str, CrashStreak]:
    """The streaks of functions whose calls one death took: those that pause begin again one after the other.

    Only one of them may be the cause, and whichever begins alone shows whether it is. The least suspect is first.
    """
    pausing = [name for name, streak in streaks.items() if streak.pause_left(now)]
    pausing.sort(key=lambda name: (streaks[name].deaths, name))
    later = {
        name: CrashStreak(streak.deaths, streak.last, streak.until + place * TOGETHER)
        for place, name in enumerate(pausing)
        for streak in [streaks[name]]
    }
    return streaks | later
