"""Finds and repairs stalled work: lost wake-up signals, calls without a worker, deliveries without a workflow.

Every action is harmless when repeated, so every Temporal worker process sweeps and none has to be the only one.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta

from orchestrator.errors import ConflictError, NotFoundError, UnavailableError
from orchestrator.runtime.clock import now_ms
from orchestrator.store.recovery.stalled_runs import BATCH
from orchestrator.store.store import Store
from orchestrator.temporal.activity_tasks import ActivityTaskClient
from orchestrator.temporal.client import Temporal
from orchestrator.workflows.interface import RunRef
from workers.recovery.lost_leases import LostLeaseRecovery
from workers.recovery.signal_backoff import SignalBackoff

_log = logging.getLogger(__name__)

_MAX_CONCURRENT = 16
"""Requests to Temporal at the same time."""
GRACE_MS = 2_000
"""A pending request or delivery of this age should have been read: its wake-up signal was lost."""
UNREAD_AFTER_MS = 1_500
"""A call of this age without a living function worker is reported as waiting. With the interval of sweeps: within 5 s."""


class Sweeper:
    """One pass every `seconds`, plus or minus a fifth, so that several processes do not sweep at the same time."""

    def __init__(
        self,
        store: Store,
        temporal: Temporal,
        *,
        seconds: float,
        retention: timedelta | None = None,
    ) -> None:
        self._sweeps = store.sweeps
        self._approvals = store.approvals
        self._deadlines = store.deadlines
        self._clusters = store.clusters
        self._runs = store.runs
        self._lost_leases = LostLeaseRecovery(
            store.lost_leases, ActivityTaskClient(temporal, "sweeper")
        )
        self._temporal = temporal
        self._unstarted_backoff, self._signal_backoff = SignalBackoff(), SignalBackoff()
        self._seconds = seconds
        self._delivered_up_to = 0
        self._deletion = store.deletion
        self._retention = retention

    async def run(self) -> None:
        """Sweep until cancelled. No error ends it."""
        while True:
            try:
                await self.sweep()
            except Exception:  # noqa: BLE001 # whatever it is, the next sweep must run
                _log.warning("a sweep failed; the next one runs as planned", exc_info=True)
            await asyncio.sleep(self._seconds * random.uniform(0.8, 1.2))  # noqa: S311 - no secret

    async def sweep(self) -> None:
        """One pass.

        A workflow that can wait for hours is started, not signalled: a signal in every sweep would fill its history.
        """
        await self._end_overdue()
        await self._cancel_orphans()
        before = now_ms() - GRACE_MS
        await self._signal_unread_requests(before)
        undelivered = await self._sweeps.undelivered_runs(before, after=self._delivered_up_to)
        self._delivered_up_to = undelivered.next_after
        await self._request_all(undelivered.refs, self._temporal.start_delivery)
        await self._lost_leases.sweep()
        await self._report_waiting_calls()
        await self._expire_approvals()
        await self._sweeps.suspend()
        await self._sweeps.resume_suspended()
        await self._request_all(await self._sweeps.stalled_runs(), self._temporal.start_run)
        if self._retention is not None:
            await self._delete_outdated(now_ms() - int(self._retention / timedelta(milliseconds=1)))

    async def _cancel_orphans(self) -> None:
        """Cancel the runs of deleted clusters."""
        for ref in await self._clusters.orphans():
            with suppress(ConflictError, NotFoundError):  # it has ended, or was deleted
                await self._runs.cancel(ref, "The cluster was deleted.")

    async def _delete_outdated(self, before: int) -> None:
        for ref in await self._deletion.outdated(before):
            if await self._deletion.delete_outdated(ref, before):
                await self._request_all([ref], self._temporal.end_run)

    async def _end_overdue(self) -> None:
        for ref in await self._deadlines.overdue():
            with suppress(NotFoundError):  # deleted meanwhile
                await self._deadlines.fail(ref)

    async def _expire_approvals(self) -> None:
        for cluster_id, call_id in await self._approvals.overdue():
            await self._approvals.expire(cluster_id, call_id)

    async def _report_waiting_calls(self) -> None:
        for waiting in await self._sweeps.calls_without_worker(now_ms() - UNREAD_AFTER_MS):
            await self._sweeps.report_waiting(waiting)

    async def _signal_unread_requests(self, before: int) -> None:
        """Signal runs with unread requests. A run that never started is started instead: on a busy server that costs nothing."""

        async def start(ref: RunRef) -> None:
            await self._temporal.start_run(ref)
            self._unstarted_backoff.record_signal(ref)

        async def signal(ref: RunRef) -> None:
            await self._temporal.signal_run(ref)
            self._signal_backoff.record_signal(ref)

        unread = await self._sweeps.runs_with_unread_requests(before, started=True)
        await self._request_all(self._signal_backoff.due(unread)[:BATCH], signal)
        unstarted = await self._sweeps.runs_with_unread_requests(before, started=False)
        await self._request_all(self._unstarted_backoff.due(unstarted)[:BATCH], start)

    @staticmethod
    async def _request_all(
        refs: Sequence[RunRef], request: Callable[[RunRef], Awaitable[None]]
    ) -> None:
        for first in range(0, len(refs), _MAX_CONCURRENT):
            some = (request(ref) for ref in refs[first : first + _MAX_CONCURRENT])
            for error in await asyncio.gather(*some, return_exceptions=True):
                if isinstance(error, UnavailableError):
                    _log.warning("wake-up signals wait for Temporal: %s", error)
                    return
                if error is not None:
                    raise error
