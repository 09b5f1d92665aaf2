"""Requeues the activities of crashed processes without waiting for their heartbeat timeouts.

Each process checks the journal files of its own machine at its start and then every second; see `in_flight_journal`.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from pathlib import Path

from orchestrator.errors import UnavailableError
from orchestrator.runtime.clock import now_ms
from orchestrator.store.calls.outcomes import Completed, Discarded, Retry
from orchestrator.store.recovery.lost_leases import IMMEDIATE_RETRY_SECONDS, LostLeaseStore
from orchestrator.temporal.activity_tasks import NOT_DELIVERED, PROCESS_LOST, ActivityTaskClient
from orchestrator.temporal.client import run_workflow_id
from orchestrator.temporal.in_flight_journal import InFlightTask, claim, journals, remove_old
from orchestrator.workflows.interface import RUN_ACTIVITIES, RunRef

_log = logging.getLogger(__name__)

_PAUSE = 1.0
_MAX_CONCURRENT = 16
_RETENTION = timedelta(days=7)
_MAX_DELAY = 60.0
_MAX_RUNS_CHECKED = 500
"""Runs whose activities are checked for tasks in transit to a dead process; others wait for the heartbeat timeout."""
_FREE_CRASHES = 2
"""Attempts that may end with a crashed process before the next one is delayed: the task may cause the crashes."""


class CrashRecovery:
    """Recovers the in-flight tasks of dead processes on this machine. Several processes may do so concurrently."""

    def __init__(
        self,
        folder: Path | None,
        scope: str,
        activity_tasks: ActivityTaskClient,
        leases: LostLeaseStore,
    ) -> None:
        self._folder = folder
        self._scope = scope
        self._activity_tasks = activity_tasks
        self._leases = leases

    async def run(self) -> None:
        """Sweep until cancelled. Errors are logged and do not end the loop."""
        if self._folder is None:
            return
        remove_old(self._folder, (now_ms() / 1000) - _RETENTION.total_seconds())
        while True:
            await self.recover_orphaned()
            await asyncio.sleep(_PAUSE)

    async def recover_orphaned(self) -> None:
        """Run one sweep and log any error."""
        try:
            await self.sweep()
        except UnavailableError as error:
            _log.warning("recovery of a crashed process's tasks waits for Temporal: %s", error)
        except Exception:  # noqa: BLE001 # the next sweep must run after any error
            _log.warning("recovery of a crashed process's tasks is delayed", exc_info=True)

    async def sweep(self) -> None:
        """Run one sweep. Tasks that could not be requeued stay in the journal. Raises `UnavailableError` and store errors."""
        if self._folder is None:
            return
        for path in journals(self._folder, self._scope):
            with claim(path) as dead:
                if dead is None:
                    continue
                if dead.machine is not None:
                    # the activities of its calls are among the tasks
                    await self._leases.release_all_of(*dead.machine, hosted=True)
                for first in range(0, len(dead.tasks), _MAX_CONCURRENT):
                    some = dead.tasks[first : first + _MAX_CONCURRENT]
                    given_back = await asyncio.gather(*map(self._retry, some))
                    if any(given_back):
                        _log.info(
                            "%d activities of a crashed process were requeued", sum(given_back)
                        )
                if dead.process is not None:
                    await self._recover_undelivered(dead.process)
                dead.remove()

    async def _recover_undelivered(self, process: str) -> None:
        """Requeue activities that Temporal had dispatched to the process but that it had not begun."""
        runs = await self._leases.active_runs(_MAX_RUNS_CHECKED)
        for first in range(0, len(runs), _MAX_CONCURRENT):
            some = runs[first : first + _MAX_CONCURRENT]
            found = await asyncio.gather(*(self._undelivered(process, run) for run in some))
            if any(found):
                _log.info("%d activities in transit to a crashed process were requeued", sum(found))

    async def _undelivered(self, process: str, run: RunRef) -> int:
        """Requeue the run's activities and return their number. Calls leased by a live machine are left alone."""
        given_back = 0
        for task in await self._activity_tasks.started_by(process, run_workflow_id(run)):
            call_id = task.activity_id.partition(":")[0]
            if task.name in RUN_ACTIVITIES:
                given_back += await self._activity_tasks.fail_by_id(
                    task, PROCESS_LOST, "its process died", delay=_delay(task.attempt)
                )
            elif await self._leases.is_unassigned(run.cluster_id, call_id):
                given_back += await self._activity_tasks.fail_by_id(
                    task,
                    NOT_DELIVERED,
                    "no machine received the call",
                    delay=IMMEDIATE_RETRY_SECONDS,
                )
        return given_back

    async def _retry(self, task: InFlightTask) -> bool:
        """Return True if Temporal was still waiting for the activity."""
        if task.call is None:
            return await self._activity_tasks.fail(
                task.token, PROCESS_LOST, "its process died", delay=_delay(task.attempt)
            )
        match await self._leases.recover(task.call, task.token):
            case Completed(outcome):
                return await self._activity_tasks.complete(task.token, outcome)
            case Retry(reason, delay):
                return await self._activity_tasks.fail(
                    task.token, NOT_DELIVERED, reason, delay=delay
                )
            case Discarded():
                return False


def _delay(attempt: int) -> float:
    """Return the seconds until the next attempt: 0 unless this task seems to crash its processes."""
    more = attempt - _FREE_CRASHES
    return IMMEDIATE_RETRY_SECONDS if more <= 0 else min(2.0 ** min(more, 10), _MAX_DELAY)
