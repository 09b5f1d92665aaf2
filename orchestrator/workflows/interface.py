"""The activities a run needs: names, inputs, outputs, time limits, retry policies. No bodies.

Workflows import this module and nothing of the activities themselves. Everything here travels through Temporal's
history, so it is small, constant per step, and refers to what is large by id. A renamed field breaks histories
that are already written: add fields with defaults, never rename.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from temporalio.common import RetryPolicy

from orchestrator.rules.agent_loop import LoopState
from perdure.contract import RunStatus

MODEL_STEP = "think"
SUMMARIZE = "summarize"
READ_PENDING_REQUESTS = "look"
END_TURN = "settle"
LIST_DUE_DELIVERIES = "next_deliveries"
DELIVER_WEBHOOK = "deliver_webhook"
RUN_ACTIVITIES = frozenset({READ_PENDING_REQUESTS, END_TURN, SUMMARIZE, MODEL_STEP})
"""The run's activities that are no calls: an attempt after the first one follows on a failure or a death."""

WAKE_SIGNAL = "nudge"  # persisted: the name of the signal in histories

WEBHOOK_QUEUE = "perdure-webhooks"
"""Task queue of its own, so that receivers who take their time hold up nobody's run."""

MODEL_STEP_TIMEOUT = timedelta(minutes=30)
"""One attempt of a model step; a long answer of a large model streams for minutes, and the calls of hosted functions
before it take their time."""
MODEL_STEP_DEADLINE = timedelta(hours=24)
ACTIVITY_HEARTBEAT = timedelta(seconds=12)
"""10 s or more: shorter ones give false timeouts on a busy machine."""
BOOKKEEPING_TIMEOUT = timedelta(seconds=30)

MODEL_STEP_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=60),
    maximum_attempts=60,
)
"""About an hour of a provider's trouble, unless it asks for other delays."""
BOOKKEEPING_RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=10)
)
"""Unbounded on purpose: it only writes to the store, and a store that is away comes back."""
CALL_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=30),
)
"""Counts hand-outs, without a maximum but within the call's deadline; a function's attempts are counted in the
store, because a task that reached no machine must cost the function nothing."""


@dataclass(frozen=True)
class RunRef:
    """A run, by its cluster and id."""

    cluster_id: str
    run_id: str


@dataclass(frozen=True)
class CallRef:
    """Input of a call's activity: where to find the call."""

    run: RunRef
    call_id: str


def activity_id(call_id: str, interruptions: int) -> str:
    """A call's activity: another one after each time the call was interrupted to ask a person."""
    return f"{call_id}:{interruptions}" if interruptions else call_id


@dataclass(frozen=True)
class CallSchedule:
    """A call as the workflow schedules it. Times in seconds; no heartbeat where the machine sends none."""

    call_id: str
    queue: str
    name: str
    timeout: float
    deadline: float
    heartbeat: float | None
    priority: int = 0
    """1 (first) to 5 (last); 0 leaves it to the run's workflow."""
    interruptions: int = 0
    """How often a person was asked before."""

    @property
    def activity_id(self) -> str:
        return activity_id(self.call_id, self.interruptions)


@dataclass(frozen=True)
class CallOutcome:
    """Output of a call's activity: the result itself is in the store."""

    call_id: str
    oversized: bool = False
    interrupted: bool = False
    """There is no result: a person is asked first. Once approved, the call is another activity."""


@dataclass(frozen=True)
class TimedOutCall:
    """A call that Temporal gave up on: its deadline passed."""

    call_id: str
    reason: str
    interruptions: int = 0


@dataclass(frozen=True)
class ModelStepInput:
    """`step` 0 means: wherever the store is. `lost` calls get a failure as their result first."""

    run: RunRef
    step: int = 0
    lost: list[TimedOutCall] = field(default_factory=list[TimedOutCall])


@dataclass(frozen=True)
class RunState:
    """Where a run stands after a transaction: all that the workflow needs to know."""

    status: str
    step: int = 0
    orders: list[CallSchedule] = field(default_factory=list[CallSchedule])
    oversized: list[str] = field(default_factory=list[str])
    interrupted: list[str] = field(default_factory=list[str])
    """Calls, by id, that wait for a person."""
    priority: int = 0
    """Of the run, 1 (first) to 5 (last); 0 leaves it to the execution."""
    late: bool = False
    """The reply was not recorded: somebody else drives the run on, or it went back or ended meanwhile."""

    def loop_state(self) -> LoopState:
        return LoopState(
            status=RunStatus(self.status),
            unanswered=tuple(order.call_id for order in self.orders),
            oversized=tuple(self.oversized),
            interrupted=tuple(self.interrupted),
        )


@dataclass(frozen=True)
class SummarizeInput:
    run: RunRef
    call_id: str


@dataclass(frozen=True)
class PendingRequests:
    """What a look at the wishes found."""

    cancel_wanted: bool = False
    parked: bool = False
    """The run waits for a worker for long: close the execution, the state is in the store."""
    settled: list[CallOutcome] = field(default_factory=list[CallOutcome])
    """Open calls that have a result in the store, or were interrupted, although their activity does not know."""
    over: bool = False
    """The turn ended without the workflow, or the run was deleted: stop, nothing is to be written."""
    orders: list[CallSchedule] = field(default_factory=list[CallSchedule])
    """Calls that a person decided on, to be made now."""
    rewound: bool = False
    """The conversation went back: what the model is asked just now is out of date."""


@dataclass(frozen=True)
class EndTurnInput:
    """End a turn from outside the model loop: `move` is "cancel" or "fail"."""

    run: RunRef
    move: str
    reason: str


@dataclass(frozen=True)
class ListDueDeliveriesInput:
    """`dead` deliveries, by call id, were given up."""

    run: RunRef
    dead: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class DueDeliveries:
    """Handler calls that wait, in the order of their transitions."""

    orders: list[CallSchedule] = field(default_factory=list[CallSchedule])
