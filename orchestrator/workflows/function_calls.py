"""Runs the calls of one reply as activities: a part of the run's workflow, without I/O."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import ActivityError, is_cancelled_exception

from orchestrator.workflows.interface import (
    CALL_RETRY,
    CallOutcome,
    CallRef,
    CallSchedule,
    RunRef,
    TimedOutCall,
)


def priority_key(priority: int) -> Priority:
    """Temporal priority; 0 uses the workflow's."""
    return Priority(priority_key=priority) if priority else Priority.default


CallHandle = workflow.ActivityHandle[CallOutcome]


def schedule_activity(schedule: CallSchedule, run: RunRef) -> CallHandle:
    """Schedule the call on its function's task queue."""
    return workflow.start_activity(
        schedule.name,
        CallRef(run, schedule.call_id),
        result_type=CallOutcome,
        activity_id=schedule.activity_id,
        task_queue=schedule.queue,
        schedule_to_close_timeout=timedelta(seconds=schedule.deadline),
        start_to_close_timeout=timedelta(seconds=schedule.timeout),
        heartbeat_timeout=timedelta(seconds=schedule.heartbeat) if schedule.heartbeat else None,
        retry_policy=CALL_RETRY,
        cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
        priority=priority_key(schedule.priority),
    )


class PendingCalls:
    """The concurrent calls of one reply; calls that time out in Temporal are reported, not raised."""

    def __init__(self, run: RunRef) -> None:
        self._run = run
        self._schedules: list[CallSchedule] = []
        self._handles: dict[str, CallHandle] = {}
        self._resolved: dict[str, CallOutcome] = {}

    def is_scheduled(self, schedule: CallSchedule) -> bool:
        """Return whether the call was scheduled after its last interruption."""
        return schedule.activity_id in self._handles

    def start(self, schedule: CallSchedule) -> None:
        """Schedule the call and cancel its activity from before the approval, which may still be open."""
        if self.is_scheduled(schedule):
            return
        self.resolve(CallOutcome(schedule.call_id, interrupted=True))
        self._schedules.append(schedule)
        self._handles[schedule.activity_id] = schedule_activity(schedule, self._run)

    def resolve(self, outcome: CallOutcome) -> None:
        """Stop waiting for the activities of a call whose result or interruption is in the store."""
        for schedule in self._schedules:
            handle = self._handles[schedule.activity_id]
            if schedule.call_id == outcome.call_id and not handle.done():
                self._resolved[schedule.activity_id] = outcome
                handle.cancel()

    def cancel(self) -> None:
        """Stop waiting for all of them."""
        for handle in self._handles.values():
            handle.cancel()

    async def wait_all(self) -> tuple[list[CallOutcome], list[TimedOutCall]]:
        """Wait for all calls, including those scheduled meanwhile."""
        outcomes: list[CallOutcome | TimedOutCall] = []
        while len(outcomes) < len(self._schedules):
            outcomes.append(await self._outcome(self._schedules[len(outcomes)]))
        return (
            [one for one in outcomes if isinstance(one, CallOutcome)],
            [one for one in outcomes if isinstance(one, TimedOutCall)],
        )

    async def _outcome(self, schedule: CallSchedule) -> CallOutcome | TimedOutCall:
        try:
            return await self._handles[schedule.activity_id]
        except ActivityError as error:
            if schedule.activity_id in self._resolved:
                return self._resolved.pop(schedule.activity_id)
            if is_cancelled_exception(error):
                raise
            return TimedOutCall(schedule.call_id, str(error.cause or error), schedule.interruptions)
