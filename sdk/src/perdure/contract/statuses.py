"""Statuses and types of runs, calls and messages."""

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
"""The statuses that end a turn. A new message leaves done or failed; nothing leaves cancelled."""


class CallStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    """Waits for approval."""
    SUCCESS = "success"
    FAILURE = "failure"


class ResultType(StrEnum):
    RESOLUTION = "resolution"
    REJECTION = "rejection"
    INTERRUPT = "interrupt"
    """The function requests an approval."""


class MessageType(StrEnum):
    HUMAN = "human"
    AGENT = "agent"
    SUPERVISOR = "supervisor"
    INVOCATION_RESULT = "invocation-result"


class PausedFor(StrEnum):
    """The reason of a pause."""

    APPROVAL = "approval"
    BUDGET = "budget"
    SPEND = "spend"
    """The provider's spend limit."""
