"""The calls of one reply as activities: a part of the run's workflow, without I/O."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import ActivityError, is_cancelled_exception

from orchestrator.workflows.interface import (
    CALL_RETRY,
    CallOrder,
    CallOutcome,
    CallTicket,
    LostCall,
    RunRef,
)


def priority_key(priority: int) -> Priority:
    """For Temporal; 0 leaves it to the execution."""
    return Priority(priority_key=priority) if priority else Priority.default


CallHandle = workflow.ActivityHandle[CallOutcome]


def start_call(order: CallOrder, run: RunRef) -> CallHandle:
    """Have the call made by whoever polls its queue."""
    return workflow.start_activity(
        order.name,
        CallTicket(run, order.call_id),
        result_type=CallOutcome,
        activity_id=order.activity_id,
        task_queue=order.queue,
        schedule_to_close_timeout=timedelta(seconds=order.deadline),
        start_to_close_timeout=timedelta(seconds=order.timeout),
        heartbeat_timeout=timedelta(seconds=order.heartbeat) if order.heartbeat else None,
        retry_policy=CALL_RETRY,
        cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
        priority=priority_key(order.priority),
    )


class ReplyCalls:
    """All calls of one reply at once; what Temporal gives up on is reported, not raised."""

    def __init__(self, run: RunRef) -> None:
        self._run = run
        self._orders: list[CallOrder] = []
        self._handles: dict[str, CallHandle] = {}
        self._settled: dict[str, CallOutcome] = {}

    def knows(self, order: CallOrder) -> bool:
        """Whether the call was started, as often as it was interrupted."""
        return order.activity_id in self._handles

    def start(self, order: CallOrder) -> None:
        """Start the call. Its activity from before a person was asked may be open still: nobody needs that."""
        if self.knows(order):
            return
        self.settle(CallOutcome(order.call_id, interrupted=True))
        self._orders.append(order)
        self._handles[order.activity_id] = start_call(order, self._run)

    def settle(self, outcome: CallOutcome) -> None:
        """Stop waiting for the activities of a call of which the store knows more."""
        for order in self._orders:
            handle = self._handles[order.activity_id]
            if order.call_id == outcome.call_id and not handle.done():
                self._settled[order.activity_id] = outcome
                handle.cancel()

    def cancel(self) -> None:
        """Stop waiting for all of them."""
        for handle in self._handles.values():
            handle.cancel()

    async def finish(self) -> tuple[list[CallOutcome], list[LostCall]]:
        """Wait for all, those included that are started meanwhile."""
        found: list[CallOutcome | LostCall] = []
        while len(found) < len(self._orders):
            found.append(await self._outcome(self._orders[len(found)]))
        return (
            [one for one in found if isinstance(one, CallOutcome)],
            [one for one in found if isinstance(one, LostCall)],
        )

    async def _outcome(self, order: CallOrder) -> CallOutcome | LostCall:
        try:
            return await self._handles[order.activity_id]
        except ActivityError as error:
            if order.activity_id in self._settled:
                return self._settled.pop(order.activity_id)
            if is_cancelled_exception(error):
                raise
            return LostCall(order.call_id, str(error.cause or error), order.interruptions)
