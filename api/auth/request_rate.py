"""Requests per second, counted by the library `limits`, which is imported only if such a limit is set."""

from __future__ import annotations

from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter


class RequestRate:
    """Counts in this process alone, over the last second."""

    def __init__(self, per_second: int) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._item = RateLimitItemPerSecond(per_second)

    async def try_acquire(self, *who: str) -> bool:
        """Count a request. Returns False if it exceeds the limit."""
        return await self._limiter.hit(self._item, *who)
