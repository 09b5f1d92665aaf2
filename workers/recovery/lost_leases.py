"""Gives hand-outs back that reached no machine: the API died after it wrote them down."""

from __future__ import annotations

import logging

from orchestrator.errors import UnavailableError
from orchestrator.store.recovery.lost_leases import LostHandoutStore
from orchestrator.temporal.activity_tasks import NOT_DELIVERED, ActivityTaskClient

_log = logging.getLogger(__name__)

_BACK_SOON = 0.05
"""Seconds until the call is offered again."""


class LostHandouts:
    """One part of a sweep."""

    def __init__(self, lost: LostHandoutStore, queue: ActivityTaskClient) -> None:
        self._lost = lost
        self._queue = queue

    async def sweep(self) -> None:
        """Offer again what was lost, and note that nobody has it. While Temporal is away all stays as it is."""
        for lost in await self._lost.find():
            try:
                await self._queue.fail(
                    lost.token, NOT_DELIVERED, "no machine was told", delay=_BACK_SOON
                )
            except UnavailableError as error:
                _log.warning("lost hand-outs wait for Temporal: %s", error)
                return
            await self._lost.take_back(lost)
