"""The workflows: obey the rules, wait for activities, notice nudges. No I/O, no state worth keeping.

Everything a run *is* stands in the store, so an execution can end at any quiet moment and another can take over
under the same id: that is how follow-ups, long waits and continue-as-new work, and why a second start is harmless.
"""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from orchestrator.rules.agent_loop import CallFunctions, CallModel, Summarize, next_step
from orchestrator.workflows import interface as activities
from orchestrator.workflows.function_calls import ReplyCalls, priority_key, start_call
from orchestrator.workflows.interface import (
    CallOrder,
    CallOutcome,
    Deliveries,
    DeliveriesInput,
    LostCall,
    RunRef,
    Seen,
    SettleInput,
    Standing,
    SummarizeInput,
    ThinkInput,
)

RUN_WORKFLOW = "run"
DELIVER_WORKFLOW = "deliver"
NUDGE = "nudge"


@workflow.defn(name=RUN_WORKFLOW)
class RunWorkflow:
    """One run while there is something to do for it."""

    def __init__(self) -> None:
        self._nudged = False
        self._calls: ReplyCalls | None = None
        self._missed = False
        self._priority = 0

    @workflow.signal(name=NUDGE)
    def nudge(self) -> None:
        """Something was written to the store for this run. Carries no data: the store has it."""
        self._nudged = True

    @workflow.run
    async def run(self, ref: RunRef) -> None:
        self._nudged = False  # the first step reads everything anyway
        while True:
            if await self._work(ref):
                return
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(ref)

    async def _work(self, ref: RunRef) -> bool:
        """Drive the run until it rests or must be driven afresh; True when it rests and nobody nudged.

        A look reads wishes that the step under way may not have seen, so after one the run is driven once more.
        """
        driver = asyncio.create_task(self._drive(ref))
        looked = False
        while True:
            await workflow.wait_condition(lambda: self._nudged or driver.done())
            if driver.done():
                return await driver and not self._take_nudge() and not looked
            self._take_nudge()
            seen, looked = await self._look(ref), True
            if driver.done():
                continue
            if seen.cancel_wanted or seen.parked or seen.over:
                await self._stop(driver)
                if seen.cancel_wanted:
                    await self._settle(ref, "cancel", "")
                return not self._take_nudge()
            if seen.rewound and self._calls is None:
                await self._stop(driver)
                return False
            self._accept(seen)

    def _take_nudge(self) -> bool:
        nudged, self._nudged = self._nudged, False
        return nudged

    async def _stop(self, driver: asyncio.Task[bool]) -> None:
        driver.cancel()
        if self._calls is not None:
            self._calls.cancel()
        try:
            await driver
        except (asyncio.CancelledError, ActivityError) as error:
            if not is_cancelled_exception(error):
                raise

    async def _drive(self, ref: RunRef) -> bool:
        """Obey the rules until nothing is left to do (True) or a fresh history is due (False)."""
        standing = await self._think(ThinkInput(ref))
        while True:
            match next_step(standing.situation()):
                case CallFunctions():
                    outcomes, lost = await self._call(ref, standing.orders)
                    await self._summarize(ref, [o.call_id for o in outcomes if o.oversized])
                case Summarize(calls):
                    await self._summarize(ref, list(calls))
                    lost = []
                case CallModel():
                    lost = []
                case _:
                    return True
            if workflow.info().is_continue_as_new_suggested() and not lost:
                return False
            standing = await self._think(ThinkInput(ref, standing.step + 1, lost))

    async def _think(self, question: ThinkInput) -> Standing:
        try:
            standing: Standing = await workflow.execute_activity(
                activities.THINK,
                question,
                result_type=Standing,
                start_to_close_timeout=activities.THINK_TIMEOUT,
                schedule_to_close_timeout=activities.THINK_DEADLINE,
                heartbeat_timeout=activities.ACTIVITY_HEARTBEAT,
                retry_policy=activities.THINK_RETRY,
                priority=priority_key(self._priority),
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            reason = str(error.cause or error)
            await self._settle(question.run, "fail", f"The model could not be reached: {reason}")
            return Standing("failed")
        self._priority = standing.priority
        return standing

    async def _call(
        self, ref: RunRef, orders: list[CallOrder]
    ) -> tuple[list[CallOutcome], list[LostCall]]:
        """All calls of one reply at once, and those of them that a person approves meanwhile."""
        self._calls = ReplyCalls(ref)
        for order in orders:
            self._calls.start(order)
        if self._missed:
            self._missed, self._nudged = False, True
        try:
            return await self._calls.finish()
        finally:
            self._calls = None

    def _accept(self, seen: Seen) -> None:
        """Stop waiting for what has its result in the store already, and start what a person approved.

        Between two steps there is nothing to add it to: whoever starts the next calls looks once more.
        """
        if self._calls is None:
            self._missed = bool(seen.orders)
            return
        for outcome in seen.settled:
            self._calls.settle(outcome)
        for order in seen.orders:
            self._calls.start(order)

    async def _summarize(self, ref: RunRef, call_ids: list[str]) -> None:
        await asyncio.gather(
            *(
                workflow.execute_activity(
                    activities.SUMMARIZE,
                    SummarizeInput(ref, call_id),
                    start_to_close_timeout=activities.THINK_TIMEOUT,
                    heartbeat_timeout=activities.ACTIVITY_HEARTBEAT,
                    retry_policy=activities.BOOKKEEPING_RETRY,
                )
                for call_id in call_ids
            )
        )

    @staticmethod
    async def _look(ref: RunRef) -> Seen:
        seen: Seen = await workflow.execute_activity(
            activities.LOOK,
            ref,
            result_type=Seen,
            start_to_close_timeout=activities.BOOKKEEPING_TIMEOUT,
            retry_policy=activities.BOOKKEEPING_RETRY,
        )
        return seen

    @staticmethod
    async def _settle(ref: RunRef, move: str, reason: str) -> None:
        await workflow.execute_activity(
            activities.SETTLE,
            SettleInput(ref, move, reason),
            start_to_close_timeout=activities.BOOKKEEPING_TIMEOUT,
            retry_policy=activities.BOOKKEEPING_RETRY,
        )


@workflow.defn(name=DELIVER_WORKFLOW)
class DeliverWorkflow:
    """Tells a run's handler of its transitions, one after the other, without holding the run up."""

    def __init__(self) -> None:
        self._nudged = False

    @workflow.signal(name=NUDGE)
    def nudge(self) -> None:
        """A transition was written."""
        self._nudged = True

    @workflow.run
    async def run(self, ref: RunRef) -> None:
        dead: list[str] = []
        while True:
            self._nudged = False
            waiting = await self._next(ref, dead)
            dead = []
            for order in waiting.orders:
                if not await self._deliver(ref, order):
                    dead = [order.call_id]
                    break
            if not waiting.orders and not self._nudged:
                return
            if workflow.info().is_continue_as_new_suggested() and not dead:
                workflow.continue_as_new(ref)

    @staticmethod
    async def _next(ref: RunRef, dead: list[str]) -> Deliveries:
        waiting: Deliveries = await workflow.execute_activity(
            activities.NEXT_DELIVERIES,
            DeliveriesInput(ref, dead),
            result_type=Deliveries,
            start_to_close_timeout=activities.BOOKKEEPING_TIMEOUT,
            retry_policy=activities.BOOKKEEPING_RETRY,
        )
        return waiting

    @staticmethod
    async def _deliver(ref: RunRef, order: CallOrder) -> bool:
        try:
            await start_call(order, ref)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            return False
        return True
