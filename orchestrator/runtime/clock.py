"""Current time as milliseconds since the epoch, UTC. Workflows use Temporal's clock instead."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now_ms() -> int:
    """The current time in whole milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000


def to_datetime(milliseconds: int) -> datetime:
    """Convert milliseconds to an aware UTC datetime, exact to the millisecond."""
    return _EPOCH + timedelta(milliseconds=milliseconds)
