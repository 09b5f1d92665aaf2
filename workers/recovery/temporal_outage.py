"""Detects an outage of Temporal and has the activities that ended during it dispatched again.

The SDK reports the end of an activity for about six seconds, whatever retries the client is configured for; after that
the server waits for a timeout of up to half a minute. Repeating an activity is harmless, because its outcome is in the
store. The server does not dispatch an activity again if it knows that it ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic

from orchestrator.errors import UnavailableError
from orchestrator.store.recovery.lost_leases import IMMEDIATE_RETRY_SECONDS
from orchestrator.temporal.activity_tasks import PROCESS_LOST, ActivityTaskClient
from orchestrator.temporal.client import Temporal
from workers.recovery.in_flight import InFlightInterceptor

_log = logging.getLogger(__name__)

_PAUSE = 1.0
_DELIVERY_SECONDS = 1.0
"""Seconds for which the end of an activity may have been in transit when the server was last reached."""
LONG = 3.0
"""Seconds of an outage that the SDK's own retries cover."""


class TemporalOutageMonitor:
    """Monitors the server from one worker process."""

    def __init__(
        self,
        temporal: Temporal,
        activity_tasks: ActivityTaskClient,
        in_flight: InFlightInterceptor,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._temporal = temporal
        self._activity_tasks = activity_tasks
        self._in_flight = in_flight
        self._clock = clock
        self._last_seen = clock()

    async def run(self) -> None:
        """Monitor until cancelled."""
        while True:
            await asyncio.sleep(_PAUSE)
            try:
                await self.check()
            except UnavailableError as error:
                _log.debug("away again: %s", error)

    async def check(self) -> None:
        """One check. Raises `UnavailableError` if the server fails again: the next check repeats it."""
        if not await self._temporal.is_reachable():
            return
        now = self._clock()
        if now - self._last_seen >= LONG:
            await self._repeat_undelivered()
        self._last_seen = now

    async def _repeat_undelivered(self) -> None:
        undelivered = 0
        for task in self._in_flight.ended_since(self._last_seen - _DELIVERY_SECONDS):
            undelivered += await self._activity_tasks.fail(
                task.token,
                PROCESS_LOST,
                "its end could not be reported",
                delay=IMMEDIATE_RETRY_SECONDS,
            )
        _log.info("Temporal is available again; %d activities ended meanwhile", undelivered)
