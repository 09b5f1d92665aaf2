"""What a function worker may do with a call it holds: keep it, and answer it.

The store decides whose result counts, by the hand-out; then the activity is told, by its token. If this process
dies in between, or Temporal is away, the next hand-out or the sweeper finds the recorded result and goes on from it.
"""

from __future__ import annotations

from orchestrator.call_queue import FUNCTION_FAILED, CallQueue, Lease
from orchestrator.errors import SupersededError, UnavailableError
from orchestrator.store.calls import Finished, Settled, content_of
from orchestrator.store.json_text import dump
from orchestrator.store.store import Store
from orchestrator.temporal import Temporal, delivery_workflow_id, run_workflow_id
from perdure.contract import PostResult, ResultType


class CallOperations:
    """Heartbeats and results of machines."""

    def __init__(self, store: Store, queue: CallQueue, temporal: Temporal) -> None:
        self._store = store
        self._queue = queue
        self._temporal = temporal

    async def heartbeat(
        self, cluster_id: str, call_id: str, machine_id: str, attempt: int | None
    ) -> bool:
        """The machine still works on the call; True if it should stop.

        Raises `NotFoundError`, `SupersededError` where the call is no longer this machine's.
        """
        if await self._store.calls.acknowledge(cluster_id, call_id, machine_id, attempt):
            return False  # the lease began with the hand-out, a moment ago
        token, unwanted = await self._store.calls.lease(cluster_id, call_id, machine_id, attempt)
        lease = await self._queue.heartbeat(token)
        if lease is Lease.LOST and not unwanted:
            raise SupersededError(
                "The call was taken from this machine: it was silent for too long."
            )
        return unwanted or lease is not Lease.HELD

    async def post_result(
        self, cluster_id: str, call_id: str, machine_id: str, posted: PostResult
    ) -> None:
        """Take a result. Raises `NotFoundError`, `SupersededError` for one that is late, stale or a second."""
        content = content_of(posted.result_type, posted.result, dump(posted.result))
        finished = await self._store.calls.finish(
            cluster_id,
            call_id,
            machine_id,
            posted.attempt,
            kind=posted.result_type,
            content=content,
        )
        await self._tell(finished)

    async def refuse_result(self, cluster_id: str, call_id: str, machine_id: str, why: str) -> None:
        """A result that could not be taken counts as a failed attempt, and the model is told why."""
        finished = await self._store.calls.finish(
            cluster_id, call_id, machine_id, None, kind=ResultType.REJECTION, content=why
        )
        await self._tell(finished)

    async def _tell(self, finished: Finished) -> None:
        """Tell the activity. What is in the store is true already."""
        try:
            known = await self._answer(finished)
            if known or not isinstance(finished.verdict, Settled):
                return
            handler = finished.call.kind == "handler"
            workflow_id = (delivery_workflow_id if handler else run_workflow_id)(finished.run)
            refused = await self._temporal.is_call_pending(workflow_id, finished.call.id)
        except UnavailableError:
            await self._store.runs.wish(finished.run)
            return
        if refused:  # the call was given to somebody else in the meantime, whose result will count
            await self._store.calls.supersede(finished.call)
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
