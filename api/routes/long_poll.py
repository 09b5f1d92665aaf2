"""Long polls: wait for a run or a call to change, but not longer than this process lives."""

from __future__ import annotations

import asyncio

from api.context import ApiServices
from orchestrator.rules.lifecycle import is_final
from orchestrator.store.calls.queries import CallView
from orchestrator.store.records import RunRecord
from perdure.contract import RunStatus


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
    if is_final(run.run_status) or services.stopping.is_set():
        return False
    limit = min(seconds, services.settings.max_wait_seconds)
    await next_version(services, run.key, run.version, limit, until_over=True)
    return True


async def next_version(
    services: ApiServices, run_key: int, after: int, seconds: float, *, until_over: bool = False
) -> int:
    """Wait until the run's version is past `after`, the time is over or the process is to end; the version.

    With `until_over` only a version counts at which the run's turn has ended.
    """
    change = asyncio.ensure_future(
        services.store.feed.wait(run_key, after, seconds, until_final=until_over)
    )
    stop = asyncio.ensure_future(services.stopping.wait())
    try:
        await asyncio.wait({change, stop}, return_when=asyncio.FIRST_COMPLETED)
        return change.result() if change.done() else after
    finally:
        stop.cancel()
        change.cancel()


async def wait_for_result(services: ApiServices, shown: CallView, *, seconds: float) -> CallView:
    """The call with its result, or as it stands when the time is over or the process is to end.

    A call whose run has ended gets no result any more. Raises `NotFoundError` where the run is deleted meanwhile.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + min(seconds, services.settings.max_wait_seconds)
    while not _is_over(shown) and not services.stopping.is_set():
        left = deadline - clock()
        if left <= 0:
            break
        await next_version(services, shown.call.run_key, shown.run_version, left)
        shown = await services.store.call_queries.get(shown.call.cluster_id, shown.call.id)
    return shown


def _is_over(shown: CallView) -> bool:
    return shown.call.result_type is not None or is_final(RunStatus(shown.run_status))
