"""What a function worker may do with a call it holds: keep it, and answer it.

The store decides whose result counts, by the hand-out; then the activity is told, by its token. If this process
dies in between, or Temporal is away, the next hand-out or the sweeper finds the recorded result and goes on from it.
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
    """Heartbeats and results of machines."""

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
        """The machine still works on the call; True if it should stop.

        Raises `NotFoundError`, `SupersededError` where the call is no longer this machine's.
        """
        if await self._store.calls.acknowledge(cluster_id, call_id, machine_id, attempt):
            return False  # the lease began with the hand-out, a moment ago
        token, cancelled = await self._store.calls.get_lease(
            cluster_id, call_id, machine_id, attempt
        )
        if not token:
            return True
        lease = await self._activity_tasks.heartbeat(token)
        if lease is TaskState.LOST and not cancelled:
            raise SupersededError(
                "The call was taken from this machine: it was silent for too long."
            )
        return cancelled or lease is not TaskState.HELD

    async def post_result(
        self, cluster_id: str, call_id: str, machine_id: str, posted: PostResult
    ) -> None:
        """Take a result. Raises `NotFoundError`, `SupersededError` for one that is late, stale or a second."""
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
        """A result that could not be taken counts as a failed attempt, and the model is told why."""
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
        """Have others make what a machine had that is dead. Harmless to say twice. Raises `UnavailableError`."""
        for token in await self._store.lost_leases.release_all_of(cluster_id, machine_id):
            await self._activity_tasks.fail(
                token, PROCESS_LOST, "the function worker died", delay=IMMEDIATE_RETRY_SECONDS
            )

    async def _complete_activity(self, recorded: ResultRecorded) -> None:
        """Tell the activity. What is in the store is true already."""
        try:
            known = await self._send_completion(recorded)
            if known or not isinstance(recorded.attempt_outcome, Completed):
                return
            if recorded.attempt_outcome.outcome.interrupted:
                return  # the next hand-out, or a look, finds that the call waits for a person
            handler = recorded.call.kind == "handler"
            workflow_id = (delivery_workflow_id if handler else run_workflow_id)(recorded.run)
            waiting = activity_id(recorded.call.id, recorded.call.interruptions)
            still_pending = await self._temporal.is_call_pending(workflow_id, waiting)
        except UnavailableError:
            await self._store.runs.request_wakeup(recorded.run)
            return
        # was the call given to somebody else in the meantime? Then that one's result will count
        if still_pending and await self._store.calls.supersede(recorded.call):
            raise SupersededError(
                "The call was taken from this machine: it was silent for too long."
            )

    async def _send_completion(self, recorded: ResultRecorded) -> bool:
        match recorded.attempt_outcome:
            case Completed(outcome):
                return await self._activity_tasks.complete(recorded.token, outcome)
            case again:
                return await self._activity_tasks.fail(
                    recorded.token, FUNCTION_FAILED, "the function failed", delay=again.delay
                )
