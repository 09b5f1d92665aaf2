"""Long polls: wait for a run to change, but not longer than this process lives."""

from __future__ import annotations

import asyncio

from api.deps import ApiServices


async def wait_for_change(
    services: ApiServices, run_key: int, *, after: int, seconds: float
) -> None:
    """Return when the run's version is past `after`, when the time is over, or when the process is to end.

    Raises the store's error where it cannot be read.
    """
    if services.stopping.is_set():
        return
    limit = min(seconds, services.settings.max_wait_seconds)
    change = asyncio.ensure_future(services.store.feed.wait(run_key, after, limit))
    stop = asyncio.ensure_future(services.stopping.wait())
    try:
        await asyncio.wait({change, stop}, return_when=asyncio.FIRST_COMPLETED)
        if change.done():
            change.result()
    finally:
        stop.cancel()
        change.cancel()
