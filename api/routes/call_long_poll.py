"""Wait for a call's result, but not longer than this process lives."""

from __future__ import annotations

import asyncio

from api.context import ApiServices
from api.routes.long_poll import next_version
from orchestrator.rules.lifecycle import is_final
from orchestrator.store.calls.queries import CallView
from perdure.contract import RunStatus


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
