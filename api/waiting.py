"""Long polls: wait for a run to change, but not longer than this process lives."""

from __future__ import annotations

import asyncio

from api.deps import ApiServices
from orchestrator.lifecycle import is_final
from orchestrator.store.records import RunRecord


async def wait_for_change(
    services: ApiServices, run: RunRecord, *, after: int, seconds: float
) -> bool:
    """Return when the run's version is past `after`, when the time is over, or when the process is to end.

    False where nothing was waited for: the record is as new as anything. Raises the store's error where it cannot be
    read.
    """
    if run.version > after or services.stopping.is_set():
        return False
    await next_version(services, run.key, after, min(seconds, services.settings.max_wait_seconds))
    return True


async def wait_for_end(services: ApiServices, run: RunRecord, *, seconds: float) -> bool:
    """The same, but return when the run's turn has ended, however often it changes before."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + min(seconds, services.settings.max_wait_seconds)
    status, version = run.run_status, run.version
    while not is_final(status) and not services.stopping.is_set():
        left = deadline - clock()
        if left <= 0:
            break
        version = await next_version(services, run.key, version, left)
        status = await services.store.runs.status_of(run.key)
    return version != run.version  # less: the run was deleted


async def next_version(services: ApiServices, run_key: int, after: int, seconds: float) -> int:
    """Wait until the run's version is past `after`, the time is over or the process is to end; the version."""
    change = asyncio.ensure_future(services.store.feed.wait(run_key, after, seconds))
    stop = asyncio.ensure_future(services.stopping.wait())
    try:
        await asyncio.wait({change, stop}, return_when=asyncio.FIRST_COMPLETED)
        return change.result() if change.done() else after
    finally:
        stop.cancel()
        change.cancel()
