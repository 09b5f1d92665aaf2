"""The workflow that delivers a run's status changes in order, independently of the run."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from orchestrator.workflows import interface as activities
from orchestrator.workflows.function_calls import schedule_activity
from orchestrator.workflows.interface import (
    WAKE_SIGNAL,
    CallSchedule,
    DueDeliveries,
    ListDueDeliveriesInput,
    RunRef,
)

DELIVERY_WORKFLOW = "deliver"


@workflow.defn(name=DELIVERY_WORKFLOW)
class DeliveryWorkflow:
    """Delivers a run's status changes to its handler one after the other. It never delays the run."""

    def __init__(self) -> None:
        self._woken = False

    @workflow.signal(name=WAKE_SIGNAL)
    def wake(self) -> None:
        """A transition was written."""
        self._woken = True

    @workflow.run
    async def run(self, ref: RunRef) -> None:
        dead: list[str] = []
        while True:
            self._woken = False
            due = await self._list_due(ref, dead)
            dead = []
            for schedule in due.orders:
                if not await self._deliver(ref, schedule):
                    dead = [schedule.call_id]
                    break
            if not due.orders and not self._woken:
                return
            if workflow.info().is_continue_as_new_suggested() and not dead:
                workflow.continue_as_new(ref)

    @staticmethod
    async def _list_due(ref: RunRef, dead: list[str]) -> DueDeliveries:
        due: DueDeliveries = await workflow.execute_activity(
            activities.LIST_DUE_DELIVERIES,
            ListDueDeliveriesInput(ref, dead),
            result_type=DueDeliveries,
            start_to_close_timeout=activities.BOOKKEEPING_TIMEOUT,
            retry_policy=activities.BOOKKEEPING_RETRY,
        )
        return due

    @staticmethod
    async def _deliver(ref: RunRef, schedule: CallSchedule) -> bool:
        try:
            await schedule_activity(schedule, ref)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            return False
        return True
