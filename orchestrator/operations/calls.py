"""Operations of a function worker on a call it has leased: renew the lease, report the result.

The store accepts a result only from the current lease. The activity is then completed by its token. If this process
crashes in between, or Temporal is unavailable, the next lease or the sweeper finds the recorded result and uses it.
"""

from __future__ import annotations

from typing import NamedTuple

from orchestrator.errors import SupersededError, UnavailableError
from orchestrator.rules.approvals import read_request
from orchestrator.runtime.failpoints import Point, reach
from orchestrator.store.calls.outcomes import Completed, ResultRecorded, to_result_content
from orchestrator.store.recovery.lost_leases import IMMEDIATE_RETRY_SECONDS
from orchestrator.store.store import Store
from orchestrator.temporal.activity_tasks import (
    FUNCTION_FAILED,
    PROCESS_LOST,
    ActivityTaskClient,
    TaskState,
)
from orchestrator.temporal.client import Temporal, delivery_workflow_id, run_workflow_id
from orchestrator.temporal.in_flight_journal import InFlightJournal, InFlightTask
from orchestrator.workflows.interface import CallRef, activity_id
from perdure.contract import PostResult, ResultType


class CallLease(NamedTuple):
    """A call and the machine that leases it."""

    cluster_id: str
    call_id: str
    machine_id: str
    attempt: int | None = None
    """Which lease of the call; None if the machine does not say."""


async def record_result(store: Store, lease: CallLease, posted: PostResult) -> ResultRecorded:
    """Record what a function returned: its result, or its request for an approval.

    The caller has checked that it is not nested too deeply (`is_too_deep`), as the API does while it reads a body.
    Raises `NotFoundError`, `SupersededError` for a late, stale or repeated result, and `TooLargeError` for one that
    cannot be stored: `reject_result` then ends the attempt.
    """
    if posted.result_type is ResultType.INTERRUPT:
        return await store.approvals.request(*lease, read_request(posted.result))
    content = to_result_content(posted.result_type, posted.result)
    return await store.calls.accept_result(
        *lease, kind=posted.result_type, content=content.text, is_text=content.is_text
    )


async def reject_result(store: Store, lease: CallLease, why: str) -> ResultRecorded:
    """Record a result that cannot be stored as a failed attempt. The model receives the reason."""
    content = f"The result was not taken: {why}"
    return await store.calls.accept_result(*lease, kind=ResultType.REJECTION, content=content)


class CallOperations:
    """Heartbeats and results of function workers."""

    def __init__(
        self,
        store: Store,
        activity_tasks: ActivityTaskClient,
        temporal: Temporal,
        journal: InFlightJournal,
    ) -> None:
        self._store = store
        self._activity_tasks = activity_tasks
        self._temporal = temporal
        self._journal = journal

    async def heartbeat(self, lease: CallLease) -> bool:
        """Renew the lease of a call. Returns True if the machine should stop working on it.

        Raises `NotFoundError`, `SupersededError` if the machine no longer holds the call.
        """
        if await self._store.calls.acknowledge(*lease):
            return False  # the lease was granted a moment ago
        token, cancelled = await self._store.calls.get_lease(*lease)
        if not token:
            return True
        state = await self._activity_tasks.heartbeat(token)
        if state is TaskState.LOST and not cancelled:
            raise SupersededError(
                "This machine lost the lease of the call: it sent no heartbeat in time."
            )
        return cancelled or state is not TaskState.HELD

    async def post_result(self, lease: CallLease, posted: PostResult) -> None:
        """Record what a function returned, and complete its activity. Raises the errors of `record_result`."""
        recorded = await record_result(self._store, lease, posted)
        call_ref = CallRef(recorded.run, recorded.call.id)
        with self._journal.record(InFlightTask(recorded.token, call=call_ref)):
            reach(Point.RESULT_ACCEPTED)
            await self._complete_activity(recorded)

    async def reject_result(self, lease: CallLease, why: str) -> None:
        """End the attempt whose result cannot be stored. Raises `NotFoundError`, `SupersededError`."""
        await self._complete_activity(await reject_result(self._store, lease, why))

    async def release_lost_worker(self, cluster_id: str, machine_id: str) -> None:
        """Requeue the calls of a dead machine. Idempotent. Raises `UnavailableError`."""
        for token in await self._store.lost_leases.release_all_of(cluster_id, machine_id):
            await self._activity_tasks.fail(
                token, PROCESS_LOST, "the function worker died", delay=IMMEDIATE_RETRY_SECONDS
            )

    async def _complete_activity(self, recorded: ResultRecorded) -> None:
        """Complete the activity. The result is already committed to the store."""
        try:
            known = await self._send_completion(recorded)
            if known or not isinstance(recorded.attempt_outcome, Completed):
                return
            if recorded.attempt_outcome.outcome.interrupted:
                return  # the next lease or re-read finds that the call waits for approval
            handler = recorded.call.kind == "handler"
            workflow_id = (delivery_workflow_id if handler else run_workflow_id)(recorded.run)
            waiting = activity_id(recorded.call.id, recorded.call.interruptions)
            still_pending = await self._temporal.is_call_pending(workflow_id, waiting)
        except UnavailableError:
            await self._store.runs.request_wakeup(recorded.run)
            return
        if not still_pending:  # closed meanwhile, e.g. parked: the next execution reads the result
            await self._store.runs.request_wakeup(recorded.run)
        # if another machine has leased the call meanwhile, only its result counts
        elif await self._store.calls.supersede(recorded.call):
            raise SupersededError(
                "This machine lost the lease of the call: it sent no heartbeat in time."
            )

    async def _send_completion(self, recorded: ResultRecorded) -> bool:
        match recorded.attempt_outcome:
            case Completed(outcome):
                return await self._activity_tasks.complete(recorded.token, outcome)
            case again:
                return await self._activity_tasks.fail(
                    recorded.token, FUNCTION_FAILED, "the function failed", delay=again.delay
                )
