"""Delays between attempts."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from secrets import SystemRandom

_random = SystemRandom()


class Backoff:
    """Delays in seconds that double from `first` to `longest`, each shortened at random by up to a half.

    The randomness spreads the retries of clients that lost the server at the same moment.
    """

    def __init__(self, first: float = 0.2, longest: float = 10.0) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def delay(self) -> float:
        """The next delay in seconds; each is twice as long as the one before."""
        current = self._next
        self._next = min(current * 2, self._longest)
        return current * _random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Start again with the shortest delay, after a success."""
        self._next = self._first


def read_retry_after(value: str | None) -> float | None:
    """Seconds of a `Retry-After` header, a number or a date; None if it is neither."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())
