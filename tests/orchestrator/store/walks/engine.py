"""The run's workflow in small: what it received, which activities are open at Temporal, and what it does next.

It obeys the same rules in the same order as `RunWorkflow`, one move at a time, so that a walk can let anything happen
in between, and so that one can tell a run that waits from one that everybody has forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from orchestrator.llm.transcript import turns
from orchestrator.rules.agent_loop import CallFunctions, CallModel, Summarize, next_action
from orchestrator.rules.lifecycle import Trigger
from orchestrator.store.conversation.step_input import StepInput
from orchestrator.workflows.interface import (
    CallOutcome,
    CallSchedule,
    PendingRequests,
    RunRef,
    RunState,
    TimedOutCall,
)
from tests.orchestrator.store.conversation.test_rewind_walks import check
from tests.support.stage import Stage


class Phase(StrEnum):
    """What the workflow waits for."""

    DUE = "due"
    """Nothing: it goes on with the next model step."""
    THINKING = "thinking"
    CALLING = "calling"
    SUMMARIZING = "summarizing"
    RESTING = "resting"
    """It is closed, until somebody starts it again."""


@dataclass(slots=True)
class Engine:
    """One run's workflow."""

    stage: Stage
    ref: RunRef
    phase: Phase = Phase.RESTING
    step_input: StepInput | None = None
    """What the model is asked just now."""
    stale: list[StepInput] = field(default_factory=list[StepInput])
    """Asked by attempts that Temporal has given up; their replies may come all the same."""
    tasks: dict[str, CallSchedule] = field(default_factory=dict[str, CallSchedule])
    """Open activities of calls, by activity id."""
    known: set[str] = field(default_factory=set[str])
    """Activities that were started for the reply under way."""
    lost: list[TimedOutCall] = field(default_factory=list[TimedOutCall])
    long: list[str] = field(default_factory=list[str])
    """Calls whose results are to be summarized."""
    step: int = 0
    """To begin next; 0: wherever the store is."""
    signalled: bool = False
    has_re_read: bool = False

    # -- what it does by itself --------------------------------------------------------------------

    async def think(self, *, attempt: int = 1) -> None:
        """Begin the next model step, or its next attempt."""
        if attempt == 1:
            self.signalled = self.signalled and self.phase is not Phase.RESTING
        if self.step_input is not None:
            self.stale.append(self.step_input)
        begun = await self.stage.begin(self.ref, self.step, attempt=attempt, lost=self.lost)
        self.lost, self.step_input = [], None
        if isinstance(begun, StepInput):
            check(turns(begun.entries))
            self.phase, self.step_input = Phase.THINKING, begun
        else:
            self.obey(begun)

    def obey(self, state: RunState) -> None:
        """Do what the rules say next."""
        self.step_input, self.step = None, state.step + 1
        match next_action(state.loop_state()):
            case CallFunctions():
                self._call(state.orders)
            case Summarize(calls):
                self.phase, self.long = Phase.SUMMARIZING, list(calls)
            case CallModel():
                self.phase = Phase.DUE
            case _:
                self._rest()

    def _rest(self) -> None:
        """A read finds requests that the step under way may not have seen, so after one the run is driven once more."""
        self.phase = Phase.DUE if self.has_re_read or self.signalled else Phase.RESTING
        self.has_re_read = self.signalled = False
        self.step = 0

    def _call(self, orders: list[CallSchedule]) -> None:
        self.phase, self.known = Phase.CALLING, set()
        for order in orders:
            self._start(order)

    def _start(self, order: CallSchedule) -> None:
        if order.activity_id not in self.known:
            self.settle(CallOutcome(order.call_id, interrupted=True))
            self.known.add(order.activity_id)
            self.tasks[order.activity_id] = order

    def settle(self, outcome: CallOutcome) -> None:
        """No activity of that call is waited for any more."""
        for order in [one for one in self.tasks.values() if one.call_id == outcome.call_id]:
            self.complete(order, outcome)

    def complete(self, order: CallSchedule, outcome: CallOutcome | TimedOutCall) -> None:
        """An activity ended."""
        if self.tasks.pop(order.activity_id, None) is None:
            return
        if isinstance(outcome, TimedOutCall):
            self.lost.append(outcome)
        elif outcome.oversized:
            self.long.append(outcome.call_id)

    def advance(self) -> None:
        """When nothing is waited for any more, the next thing is done."""
        if self.phase is Phase.CALLING and not self.tasks:
            self.phase = Phase.SUMMARIZING
        if self.phase is Phase.SUMMARIZING and not self.long:
            self.phase = Phase.DUE

    # -- what it receives ---------------------------------------------------------------------------

    async def re_read(self) -> None:
        """A signal came: read the requests."""
        self.signalled = False
        seen = await self.stage.store.calls.read_pending_requests(self.ref)
        self.has_re_read = True
        if seen.cancel_wanted or seen.parked or seen.over:
            self.stop()
            if seen.cancel_wanted:
                await self.stage.store.runs.end_turn(self.ref, Trigger.CANCEL, "")
            self.phase, self.has_re_read = Phase.RESTING, False
        elif seen.rewound and self.phase is not Phase.CALLING:
            self.stop()
            self.phase, self.has_re_read = Phase.DUE, False
        else:
            self._accept(seen)

    def stop(self) -> None:
        """Whatever is under way is cancelled."""
        if self.step_input is not None:
            self.stale.append(self.step_input)
        self.step_input, self.phase = None, Phase.RESTING
        self.tasks, self.lost, self.long, self.step = {}, [], [], 0

    def _accept(self, seen: PendingRequests) -> None:
        if self.phase is not Phase.CALLING:
            self.signalled = self.signalled or bool(seen.orders)
            return
        for outcome in seen.settled:
            self.settle(outcome)
        for order in seen.orders:
            self._start(order)
