"""The workflow of a run: executes the rules' actions and waits for activities and wake-up signals. No I/O, no state.

The state of a run is in the store, so an execution can end whenever it is idle and another one can continue under
the same id. Follow-ups, long waits and continue-as-new rely on this, and a repeated start is harmless.
"""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from orchestrator.rules.agent_loop import CallFunctions, CallModel, Summarize, next_action
from orchestrator.workflows import interface as activities
from orchestrator.workflows.function_calls import PendingCalls, priority_key
from orchestrator.workflows.interface import (
    WAKE_SIGNAL,
    CallOutcome,
    CallSchedule,
    EndTurnInput,
    ModelStepInput,
    PendingRequests,
    RunRef,
    RunState,
    SummarizeInput,
    TimedOutCall,
)

RUN_WORKFLOW = "run"


@workflow.defn(name=RUN_WORKFLOW)
class RunWorkflow:
    """Executes one run until it is idle."""

    def __init__(self) -> None:
        self._woken = False
        self._pending_calls: PendingCalls | None = None
        self._has_unscheduled = False
        self._priority = 0

    @workflow.signal(name=WAKE_SIGNAL)
    def wake(self) -> None:
        """Wake-up signal: a request for this run was written to the store. Carries no data."""
        self._woken = True

    @workflow.run
    async def run(self, ref: RunRef) -> None:
        self._woken = False  # the first step reads everything anyway
        while True:
            if await self._run_until_idle(ref):
                return
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(ref)

    async def _run_until_idle(self, ref: RunRef) -> bool:
        """Run the loop until the run is idle or needs a new history; True if it is idle and no signal arrived.

        A re-read may find requests that the current step did not see, so the loop runs once more after it.
        """
        loop = asyncio.create_task(self._run_loop(ref))
        has_read = False
        while True:
            await workflow.wait_condition(lambda: self._woken or loop.done())
            if loop.done():
                return await loop and not self._take_wakeup() and not has_read
            self._take_wakeup()
            requests, has_read = await self._read_requests(ref), True
            if loop.done():
                continue
            if requests.cancel_wanted or requests.parked or requests.over:
                await self._stop(loop)
                if requests.cancel_wanted:
                    await self._end_turn(ref, "cancel", "")
                return not self._take_wakeup()
            if requests.rewound and self._pending_calls is None:
                await self._stop(loop)
                return False
            self._apply_requests(requests)

    def _take_wakeup(self) -> bool:
        woken, self._woken = self._woken, False
        return woken

    async def _stop(self, loop: asyncio.Task[bool]) -> None:
        loop.cancel()
        if self._pending_calls is not None:
            self._pending_calls.cancel()
        try:
            await loop
        except (asyncio.CancelledError, ActivityError) as error:
            if not is_cancelled_exception(error):
                raise

    async def _run_loop(self, ref: RunRef) -> bool:
        """Execute actions until the run is idle (True) or continue-as-new is due (False)."""
        state = await self._model_step(ModelStepInput(ref))
        while True:
            match next_action(state.loop_state()):
                case CallFunctions():
                    outcomes, timed_out = await self._run_calls(ref, state.orders)
                    await self._summarize(ref, [o.call_id for o in outcomes if o.oversized])
                case Summarize(calls):
                    await self._summarize(ref, list(calls))
                    timed_out = []
                case CallModel():
                    timed_out = []
                case _:
                    return True
            if workflow.info().is_continue_as_new_suggested() and not timed_out:
                return False
            state = await self._model_step(ModelStepInput(ref, state.step + 1, timed_out))

    async def _model_step(self, step_input: ModelStepInput) -> RunState:
        try:
            state: RunState = await workflow.execute_activity(
                activities.MODEL_STEP,
                step_input,
                result_type=RunState,
                start_to_close_timeout=activities.MODEL_STEP_TIMEOUT,
                schedule_to_close_timeout=activities.MODEL_STEP_DEADLINE,
                heartbeat_timeout=activities.ACTIVITY_HEARTBEAT,
                retry_policy=activities.MODEL_STEP_RETRY,
                priority=priority_key(self._priority),
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            reason = str(error.cause or error)
            await self._end_turn(
                step_input.run, "fail", f"The model could not be reached: {reason}"
            )
            return RunState("failed")
        self._priority = state.priority
        return state

    async def _run_calls(
        self, ref: RunRef, schedules: list[CallSchedule]
    ) -> tuple[list[CallOutcome], list[TimedOutCall]]:
        """Run all calls of one reply concurrently, including those approved meanwhile."""
        self._pending_calls = PendingCalls(ref)
        for schedule in schedules:
            self._pending_calls.start(schedule)
        if self._has_unscheduled:
            self._has_unscheduled, self._woken = False, True
        try:
            return await self._pending_calls.wait_all()
        finally:
            self._pending_calls = None

    def _apply_requests(self, requests: PendingRequests) -> None:
        """Stop waiting for calls with a result in the store, and schedule approved ones.

        Between two steps no calls are pending; requests are read again when the next calls start.
        """
        if self._pending_calls is None:
            self._has_unscheduled = bool(requests.orders)
            return
        for outcome in requests.settled:
            self._pending_calls.resolve(outcome)
        for schedule in requests.orders:
            self._pending_calls.start(schedule)

    async def _summarize(self, ref: RunRef, call_ids: list[str]) -> None:
        await asyncio.gather(
            *(
                workflow.execute_activity(
                    activities.SUMMARIZE,
                    SummarizeInput(ref, call_id),
                    start_to_close_timeout=activities.MODEL_STEP_TIMEOUT,
                    heartbeat_timeout=activities.ACTIVITY_HEARTBEAT,
                    retry_policy=activities.BOOKKEEPING_RETRY,
                )
                for call_id in call_ids
            )
        )

    @staticmethod
    async def _read_requests(ref: RunRef) -> PendingRequests:
        requests: PendingRequests = await workflow.execute_activity(
            activities.READ_PENDING_REQUESTS,
            ref,
            result_type=PendingRequests,
            start_to_close_timeout=activities.BOOKKEEPING_TIMEOUT,
            retry_policy=activities.BOOKKEEPING_RETRY,
        )
        return requests

    @staticmethod
    async def _end_turn(ref: RunRef, trigger: str, reason: str) -> None:
        await workflow.execute_activity(
            activities.END_TURN,
            EndTurnInput(ref, trigger, reason),
            start_to_close_timeout=activities.BOOKKEEPING_TIMEOUT,
            retry_policy=activities.BOOKKEEPING_RETRY,
        )
