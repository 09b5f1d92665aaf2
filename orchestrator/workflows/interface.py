"""The interface of a run's activities: names, inputs, outputs, timeouts, retry policies. No bodies.

Workflows import this module, never the activities. All of these types are stored in Temporal's history, so they are
small, of constant size per step, and refer to large data by id. A renamed field breaks histories
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
"""Priority of retries of the run's activities other than calls: an earlier attempt failed or its process crashed."""

WAKE_SIGNAL = "nudge"  # persisted: the name of the signal in histories

WEBHOOK_QUEUE = "perdure-webhooks"
"""A separate task queue, so that slow webhook receivers delay no run."""

MODEL_STEP_TIMEOUT = timedelta(minutes=30)
"""One attempt of a model step; a long reply of a large model streams for minutes, after the calls of hosted functions."""
MODEL_STEP_DEADLINE = timedelta(hours=24)
ACTIVITY_HEARTBEAT = timedelta(seconds=12)
"""At least 10 s: shorter values cause false timeouts on a busy machine."""
BOOKKEEPING_TIMEOUT = timedelta(seconds=30)

MODEL_STEP_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=60),
    maximum_attempts=60,
)
"""Covers about an hour of provider errors, unless the provider requests other delays."""
BOOKKEEPING_RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=10)
)
"""Unlimited on purpose: the activity only writes to the store, and store outages end."""
CALL_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=30),
)
"""Unlimited within the call's deadline; it counts leases. The store counts a function's attempts, because a task that
reached no machine must not use one."""


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
    """The activity id of a call; each interruption for approval leads to a new one."""
    return f"{call_id}:{interruptions}" if interruptions else call_id


@dataclass(frozen=True)
class CallSchedule:
    """A call as the workflow schedules it. Times in seconds; no heartbeat timeout if the machine sends no heartbeats."""

    call_id: str
    queue: str
    name: str
    timeout: float
    deadline: float
    heartbeat: float | None
    priority: int = 0
    """1 (first) to 5 (last); 0 uses the workflow's priority."""
    interruptions: int = 0
    """Number of earlier interruptions for approval."""

    @property
    def activity_id(self) -> str:
        return activity_id(self.call_id, self.interruptions)


@dataclass(frozen=True)
class CallOutcome:
    """Output of a call's activity: the result itself is in the store."""

    call_id: str
    oversized: bool = False
    interrupted: bool = False
    """No result yet: the call waits for approval. After approval it runs as a new activity."""


@dataclass(frozen=True)
class TimedOutCall:
    """A call that timed out in Temporal: its deadline passed."""

    call_id: str
    reason: str
    interruptions: int = 0


@dataclass(frozen=True)
class ModelStepInput:
    """`step` 0 means the current step in the store. `lost` calls first get a failure as their result."""

    run: RunRef
    step: int = 0
    lost: list[TimedOutCall] = field(default_factory=list[TimedOutCall])


@dataclass(frozen=True)
class RunState:
    """The state of a run after a transaction, as far as the workflow needs it."""

    status: str
    step: int = 0
    orders: list[CallSchedule] = field(default_factory=list[CallSchedule])
    oversized: list[str] = field(default_factory=list[str])
    interrupted: list[str] = field(default_factory=list[str])
    """Ids of calls that wait for approval."""
    priority: int = 0
    """The run's priority, 1 (first) to 5 (last); 0 uses the workflow's."""
    late: bool = False
    """The reply was not recorded: another execution continues the run, or the run was rewound or ended meanwhile."""

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
    """The pending requests of a run."""

    cancel_wanted: bool = False
    parked: bool = False
    """The run has waited long for a worker: close the execution; the state is in the store."""
    settled: list[CallOutcome] = field(default_factory=list[CallOutcome])
    """Open activities whose calls already have a result, or an interruption, in the store."""
    over: bool = False
    """The turn ended outside the workflow, or the run was deleted: stop without writing."""
    orders: list[CallSchedule] = field(default_factory=list[CallSchedule])
    """Calls that were approved and must run now."""
    rewound: bool = False
    """The conversation was rewound: the model request in progress is outdated."""


@dataclass(frozen=True)
class EndTurnInput:
    """End a turn from outside the model loop: `move` is "cancel" or "fail"."""

    run: RunRef
    move: str
    reason: str


@dataclass(frozen=True)
class ListDueDeliveriesInput:
    """`dead`: call ids of abandoned deliveries."""

    run: RunRef
    dead: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class DueDeliveries:
    """Pending handler calls, in the order of their transitions."""

    orders: list[CallSchedule] = field(default_factory=list[CallSchedule])
