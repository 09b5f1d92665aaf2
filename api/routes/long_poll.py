"""Long polls: wait for a change of a run or a call, at most until this process shuts down."""

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
    """Wait until the run's version is past `after`, the timeout expires, or the process shuts down.

    Returns False if it did not wait: the caller's record is current. Raises the store's error if the read fails.
    """
    if run.version > after or services.stopping.is_set():
        return False
    await next_version(services, run.key, after, min(seconds, services.settings.max_wait_seconds))
    return True


async def wait_for_end(services: ApiServices, run: RunRecord, *, seconds: float) -> bool:
    """Wait as `wait_for_change` does, but only for the end of the run's turn."""
    if is_final(run.run_status) or services.stopping.is_set():
        return False
    limit = min(seconds, services.settings.max_wait_seconds)
    await next_version(services, run.key, run.version, limit, until_over=True)
    return True


async def next_version(
    services: ApiServices, run_key: int, after: int, seconds: float, *, until_over: bool = False
) -> int:
    """Wait until the run's version is past `after`, the timeout expires or the process shuts down. Return the version.

    With `until_over`, only a version at which the run's turn has ended ends the wait.
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
    """Return the call once it has a result, or its current state on timeout or shutdown.

    A call whose run has ended gets no further result. Raises `NotFoundError` if the run is deleted meanwhile.
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
