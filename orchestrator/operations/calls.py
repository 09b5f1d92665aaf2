"""What a function worker may do with a call it holds: keep it, and answer it.

The store decides whose result counts, by the hand-out; then the activity is told, by its token. If this process
dies in between, or Temporal is away, the next hand-out or the sweeper finds the recorded result and goes on from it.
"""

from __future__ import annotations

from orchestrator.errors import SupersededError, UnavailableError
from orchestrator.rules.approvals import read_request
from orchestrator.runtime.failpoints import Point, reach
from orchestrator.store.calls.outcomes import Finished, Settled, content_of
from orchestrator.store.recovery.lost_leases import AT_ONCE
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
        self, store: Store, queue: ActivityTaskClient, temporal: Temporal, journal: InFlightJournal
    ) -> None:
        self._store = store
        self._queue = queue
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
        token, unwanted = await self._store.calls.lease(cluster_id, call_id, machine_id, attempt)
        if not token:
            return True
        lease = await self._queue.heartbeat(token)
        if lease is TaskState.LOST and not unwanted:
            raise SupersededError(
                "The call was taken from this machine: it was silent for too long."
            )
        return unwanted or lease is not TaskState.HELD

    async def post_result(
        self, cluster_id: str, call_id: str, machine_id: str, posted: PostResult
    ) -> None:
        """Take a result. Raises `NotFoundError`, `SupersededError` for one that is late, stale or a second."""
        if posted.result_type is ResultType.INTERRUPT:
            await self._ask_a_person(cluster_id, call_id, machine_id, posted)
            return
        content = content_of(posted.result_type, posted.result)
        finished = await self._store.calls.finish(
            cluster_id,
            call_id,
            machine_id,
            posted.attempt,
            kind=posted.result_type,
            content=content.text,
            is_text=content.is_text,
        )
        await self._accept(finished)

    async def _ask_a_person(
        self, cluster_id: str, call_id: str, machine_id: str, posted: PostResult
    ) -> None:
        finished = await self._store.approvals.request(
            cluster_id, call_id, machine_id, posted.attempt, read_request(posted.result)
        )
        await self._accept(finished)

    async def refuse_result(self, cluster_id: str, call_id: str, machine_id: str, why: str) -> None:
        """A result that could not be taken counts as a failed attempt, and the model is told why."""
        finished = await self._store.calls.finish(
            cluster_id, call_id, machine_id, None, kind=ResultType.REJECTION, content=why
        )
        await self._tell(finished)

    async def _accept(self, finished: Finished) -> None:
        ticket = CallRef(finished.run, finished.call.id)
        with self._journal.record(InFlightTask(finished.token, call=ticket)):
            reach(Point.RESULT_ACCEPTED)
            await self._tell(finished)

    async def machine_lost(self, cluster_id: str, machine_id: str) -> None:
        """Have others make what a machine had that is dead. Harmless to say twice. Raises `UnavailableError`."""
        for token in await self._store.lost_handouts.take_from(cluster_id, machine_id):
            await self._queue.fail(token, PROCESS_LOST, "the function worker died", delay=AT_ONCE)

    async def _tell(self, finished: Finished) -> None:
        """Tell the activity. What is in the store is true already."""
        try:
            known = await self._answer(finished)
            if known or not isinstance(finished.verdict, Settled):
                return
            if finished.verdict.outcome.interrupted:
                return  # the next hand-out, or a look, finds that the call waits for a person
            handler = finished.call.kind == "handler"
            workflow_id = (delivery_workflow_id if handler else run_workflow_id)(finished.run)
            waiting = activity_id(finished.call.id, finished.call.interruptions)
            refused = await self._temporal.is_call_pending(workflow_id, waiting)
        except UnavailableError:
            await self._store.runs.wish(finished.run)
            return
        # was the call given to somebody else in the meantime? Then that one's result will count
        if refused and await self._store.calls.supersede(finished.call):
            raise SupersededError(
                "The call was taken from this machine: it was silent for too long."
            )

    async def _answer(self, finished: Finished) -> bool:
        match finished.verdict:
            case Settled(outcome):
                return await self._queue.complete(finished.token, outcome)
            case again:
                return await self._queue.fail(
                    finished.token, FUNCTION_FAILED, "the function failed", delay=again.delay
                )
