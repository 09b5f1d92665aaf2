"""What runs, calls and messages can be."""

from __future__ import annotations

from enum import StrEnum


class RunStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL_STATUSES = frozenset({RunStatus.DONE, RunStatus.FAILED, RunStatus.CANCELLED})
"""A turn ends in one of these; only a new message leaves done or failed, nothing leaves cancelled."""


class CallStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    """Waits for a person's approval."""
    SUCCESS = "success"
    FAILURE = "failure"


class ResultType(StrEnum):
    RESOLUTION = "resolution"
    REJECTION = "rejection"
    INTERRUPT = "interrupt"
    """The function wants a person's approval before it goes on."""


class MessageType(StrEnum):
    HUMAN = "human"
    AGENT = "agent"
    SUPERVISOR = "supervisor"
    INVOCATION_RESULT = "invocation-result"


class PausedFor(StrEnum):
    """What a paused run waits for."""

    APPROVAL = "approval"
    BUDGET = "budget"
    SPEND = "spend"
    """The provider's spend limit."""
