"""Releases leases that reached no function worker, because the API died after it recorded them."""

from __future__ import annotations

import logging

from orchestrator.errors import UnavailableError
from orchestrator.store.recovery.lost_leases import LostLeaseStore
from orchestrator.temporal.activity_tasks import NOT_DELIVERED, ActivityTaskClient

_log = logging.getLogger(__name__)

_REQUEUE_DELAY = 0.05
"""Seconds until the call is dispatched again."""


class LostLeaseRecovery:
    """One part of a sweep."""

    def __init__(self, leases: LostLeaseStore, activity_tasks: ActivityTaskClient) -> None:
        self._leases = leases
        self._activity_tasks = activity_tasks

    async def sweep(self) -> None:
        """Release the lost calls, in Temporal and in the store. Nothing changes while Temporal is unavailable."""
        for lost in await self._leases.find_unconfirmed():
            try:
                await self._activity_tasks.fail(
                    lost.token,
                    NOT_DELIVERED,
                    "no function worker received it",
                    delay=_REQUEUE_DELAY,
                )
            except UnavailableError as error:
                _log.warning("lost leases wait for Temporal: %s", error)
                return
            await self._leases.release(lost)
