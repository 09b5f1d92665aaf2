"""The activities of a run: read the store, call the model, write the outcome."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import timedelta
from typing import NamedTuple

from temporalio import activity
from temporalio.exceptions import ApplicationError

from orchestrator.errors import NotFoundError
from orchestrator.llm.messages import ErrorAction, ModelError
from orchestrator.rules.agent_loop import CallFunctions, CallModel, next_action
from orchestrator.rules.lifecycle import Trigger
from orchestrator.runtime.clock import now_ms
from orchestrator.runtime.failpoints import Point, reach, reaching
from orchestrator.store.calls.outcomes import Leased
from orchestrator.store.conversation.step_input import StepInput
from orchestrator.store.conversation.steps import RecordedStep
from orchestrator.store.store import Store
from orchestrator.workflows import interface
from orchestrator.workflows.interface import (
    DueDeliveries,
    EndTurnInput,
    ListDueDeliveriesInput,
    ModelStepInput,
    PendingRequests,
    RunRef,
    RunState,
    SummarizeInput,
)
from perdure.contract import RunStatus
from workers.hosting.host import HostedFunctions
from workers.model_step.model_step import ModelStepRunner
from workers.model_step.summarizer import Summarizer
from workers.recovery.heartbeat import heartbeating

_log = logging.getLogger(__name__)
_SUMMARY_ATTEMPTS = 3
"""Attempts at a summary; then the result is truncated instead. A missing summary must not fail a run."""


_MAX_ACTIVITY_SECONDS = 60.0
"""Seconds for which one activity starts calls and steps; then it returns, so that Temporal's history records progress."""

_DELETED = RunState(RunStatus.CANCELLED.value)
"""The state of a deleted run: nothing is left to do."""


class _StepResult(NamedTuple):
    """The outcome of one model step."""

    state: RunState
    leased: tuple[Leased, ...] = ()
    """Calls that this process must run now."""


def _may_continue(until: float) -> bool:
    """Whether the activity may start work that another activity could do as well."""
    return not activity.is_worker_shutdown() and asyncio.get_running_loop().time() < until


class Activities:
    """All activities of the run and delivery workflows."""

    def __init__(
        self,
        store: Store,
        step_runner: ModelStepRunner,
        summarizer: Summarizer,
        hosted_functions: HostedFunctions | None = None,
    ) -> None:
        self._store = store
        self._step_runner = step_runner
        self._summarizer = summarizer
        self._hosted_functions = hosted_functions

    @activity.defn(name=interface.MODEL_STEP)
    @heartbeating
    async def run_model_step(self, step_input: ModelStepInput) -> RunState:
        """Run one model step, unless something prevents it. A recorded step is not paid again.

        If this process hosts the functions, the activity also runs the calls of the reply and the steps after them, for
        a limited time. Each step and each call is committed on its own, so another attempt continues from there.
        """
        attempt = activity.info().attempt
        # A repeated attempt runs one step only, so that the next lost process is a first attempt again: Temporal delays
        # attempts that are lost one after the other more and more.
        until = asyncio.get_running_loop().time() + _MAX_ACTIVITY_SECONDS if attempt == 1 else 0
        step = await self._run_step(step_input, attempt, until)
        if self._hosted_functions is None:
            return step.state
        return await self._run_loop(self._hosted_functions, step_input.run, step, until)

    async def _run_loop(
        self, hosting: HostedFunctions, ref: RunRef, step: _StepResult, until: float
    ) -> RunState:
        """Run calls and steps in turn until the workflow has to act, another execution continues the run, or the time is
        over. Calls that this process has leased are run in any case."""
        made = True
        while step.leased or (made and self._continues(hosting, step.state, until)):
            made = await hosting.run(ref, step.state.orders, step.leased)
            step_input = ModelStepInput(ref, step.state.step + 1)
            step = await self._run_step(step_input, 1, until if made else 0)
        return step.state

    @staticmethod
    def _continues(hosting: HostedFunctions, state: RunState, until: float) -> bool:
        """Whether this activity continues the run."""
        if state.late or not _may_continue(until):
            return False
        action = next_action(state.loop_state())
        if isinstance(action, CallFunctions):
            return hosting.can_run(state.orders)
        return isinstance(action, CallModel)

    async def _run_step(
        self, step_input: ModelStepInput, attempt: int, until: float
    ) -> _StepResult:
        """One model step at most."""
        begun = await self._begin(step_input, attempt)
        if isinstance(begun, RunState):
            return _StepResult(begun)
        try:
            state, leased = await self._call_model(step_input.run, begun, attempt, until)
        except NotFoundError:
            return _StepResult(_DELETED)
        if state.status == RunStatus.DONE:
            reach(Point.RESULT_NOT_DELIVERED)
        if state.status == RunStatus.PAUSED:
            reach(Point.WAITING_FOR_APPROVAL)
        return _StepResult(state, leased)

    async def _begin(self, step_input: ModelStepInput, attempt: int) -> StepInput | RunState:
        try:
            return await self._step_runner.begin(step_input, attempt)
        except NotFoundError:
            return _DELETED

    async def _call_model(
        self, ref: RunRef, step_input: StepInput, attempt: int, until: float
    ) -> RecordedStep:
        try:
            return await self._step_runner.run(
                step_input,
                attempt=attempt,
                on_progress=reaching(Point.MODEL_CALL_IN_FLIGHT, activity.heartbeat),
                executor=lambda: self._hosted_functions if _may_continue(until) else None,
            )
        except ModelError as error:
            return RecordedStep(await self._handle_model_error(ref, step_input, error))

    async def _handle_model_error(
        self, ref: RunRef, step_input: StepInput, error: ModelError
    ) -> RunState:
        attempt = activity.info().attempt
        if error.action is not ErrorAction.RETRY:
            trigger = Trigger.PAUSE if error.action is ErrorAction.PAUSE else Trigger.FAIL
            return await self._store.steps.abort_turn(
                ref,
                step_input.step,
                trigger,
                error.reason,
                attempt=attempt,
                rewinds=step_input.run.rewinds,
            )
        delay = error.retry_after
        retry_at = None if delay is None else now_ms() + int(delay * 1000)
        await self._store.steps.report_retry(ref, step_input.step, error.reason, retry_at)
        raise ApplicationError(
            error.reason,
            type="ModelUnavailable",
            next_retry_delay=None if delay is None else timedelta(seconds=delay),
        ) from error

    @activity.defn(name=interface.SUMMARIZE)
    @heartbeating
    async def summarize(self, summarize_input: SummarizeInput) -> None:
        """Replace a result that is too long by a summary for the model, or by its beginning if that fails."""
        found = await self._store.results.original(summarize_input.run, summarize_input.call_id)
        if found is None or not found[1]:
            return
        content, _ = found
        try:
            summary = await self._summarizer.summarize(summarize_input.run, content)
        except ModelError as error:
            if error.action is ErrorAction.RETRY and activity.info().attempt < _SUMMARY_ATTEMPTS:
                raise ApplicationError(error.reason, type="ModelUnavailable") from error
            _log.warning("no summary for call %s: %s", summarize_input.call_id, error.reason)
            await self._store.results.show_truncated(
                summarize_input.run, summarize_input.call_id, content
            )
            return
        await self._store.results.show_summary(
            summarize_input.run, summarize_input.call_id, summary, len(content)
        )

    @activity.defn(name=interface.READ_PENDING_REQUESTS)
    async def read_pending_requests(self, ref: RunRef) -> PendingRequests:
        """Read the pending requests of a run whose workflow is waiting."""
        try:
            return await self._store.calls.read_pending_requests(ref)
        except NotFoundError:
            return PendingRequests(over=True)

    @activity.defn(name=interface.END_TURN)
    async def end_turn(self, end_turn_input: EndTurnInput) -> None:
        """End a turn from outside the model loop."""
        with suppress(NotFoundError):  # deleted meanwhile
            await self._store.runs.end_turn(
                end_turn_input.run, Trigger(end_turn_input.move), end_turn_input.reason
            )

    @activity.defn(name=interface.LIST_DUE_DELIVERIES)
    async def list_due_deliveries(self, list_input: ListDueDeliveriesInput) -> DueDeliveries:
        """Pending handler calls, in the order of their transitions."""
        return DueDeliveries(
            await self._store.deliveries.list_pending(list_input.run, list_input.dead)
        )
