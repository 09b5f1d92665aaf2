"""Operations of a function worker on a call it has leased: renew the lease, report the result.

The store accepts a result only from the current lease. The activity is then completed by its token. If this process
crashes in between, or Temporal is unavailable, the next lease or the sweeper finds the recorded result and uses it.
"""

from __future__ import annotations

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

    async def heartbeat(
        self, cluster_id: str, call_id: str, machine_id: str, attempt: int | None
    ) -> bool:
        """Renew the lease of a call. Returns True if the machine should stop working on it.

        Raises `NotFoundError`, `SupersededError` if the machine no longer holds the call.
        """
        if await self._store.calls.acknowledge(cluster_id, call_id, machine_id, attempt):
            return False  # the lease was granted a moment ago
        token, cancelled = await self._store.calls.get_lease(
            cluster_id, call_id, machine_id, attempt
        )
        if not token:
            return True
        lease = await self._activity_tasks.heartbeat(token)
        if lease is TaskState.LOST and not cancelled:
            raise SupersededError(
                "This machine lost the lease of the call: it sent no heartbeat in time."
            )
        return cancelled or lease is not TaskState.HELD

    async def post_result(
        self, cluster_id: str, call_id: str, machine_id: str, posted: PostResult
    ) -> None:
        """Record a result. Raises `NotFoundError`, or `SupersededError` for a late, stale or repeated one."""
        if posted.result_type is ResultType.INTERRUPT:
            await self._request_approval(cluster_id, call_id, machine_id, posted)
            return
        content = to_result_content(posted.result_type, posted.result)
        recorded = await self._store.calls.accept_result(
            cluster_id,
            call_id,
            machine_id,
            posted.attempt,
            kind=posted.result_type,
            content=content.text,
            is_text=content.is_text,
        )
        await self._complete_in_flight(recorded)

    async def _request_approval(
        self, cluster_id: str, call_id: str, machine_id: str, posted: PostResult
    ) -> None:
        recorded = await self._store.approvals.request(
            cluster_id, call_id, machine_id, posted.attempt, read_request(posted.result)
        )
        await self._complete_in_flight(recorded)

    async def reject_result(self, cluster_id: str, call_id: str, machine_id: str, why: str) -> None:
        """Record a rejected result as a failed attempt. The model receives the reason."""
        recorded = await self._store.calls.accept_result(
            cluster_id, call_id, machine_id, None, kind=ResultType.REJECTION, content=why
        )
        await self._complete_activity(recorded)

    async def _complete_in_flight(self, recorded: ResultRecorded) -> None:
        call_ref = CallRef(recorded.run, recorded.call.id)
        with self._journal.record(InFlightTask(recorded.token, call=call_ref)):
            reach(Point.RESULT_ACCEPTED)
            await self._complete_activity(recorded)

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
        # if another machine has leased the call meanwhile, only its result counts
        if still_pending and await self._store.calls.supersede(recorded.call):
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
