"""Retries activities about every second while the store is unavailable, instead of the delays of their retry policies."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from temporalio import activity, client, worker
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput
from typing_extensions import override

from orchestrator.store.database.errors import OUTAGES

_log = logging.getLogger(__name__)

_RETRY_DELAY = timedelta(seconds=1)
_LONG_OUTAGE_ATTEMPTS = 20
"""Attempts after which the activity's own retry policy decides on the next attempt."""


class StoreOutageInterceptor(client.Interceptor, worker.Interceptor):
    """An interceptor for a client; all workers of that client use it."""

    @override
    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _StoreOutageInbound(next)


class _StoreOutageInbound(ActivityInboundInterceptor):
    @override
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        try:
            return await super().execute_activity(input)
        except OUTAGES as error:
            _log.warning("the store is away: %s", type(error).__name__)
            # Its text may hold the data that was to be written, which must not be in Temporal's history.
            raise ApplicationError(
                "The store cannot be reached.",
                type="StoreAway",
                next_retry_delay=_RETRY_DELAY
                if activity.info().attempt <= _LONG_OUTAGE_ATTEMPTS
                else None,
            ) from None
