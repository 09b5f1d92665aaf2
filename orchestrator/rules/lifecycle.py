"""What statuses a run can have and what moves it from one to the next.

    created ──► pending ──BEGIN──► running ──FINISH──► done ─────┐
                  ▲                 │    ▲                       │
                  │             PAUSE    RESUME                  │
                  │                 ▼    │                       │
                  │                paused                        │
                  │                                              │
                  └───────────REVIVE (the next turn)─── failed ◄─┤ FAIL, from pending, running, paused
                                                                 │
                                                    cancelled ◄──┘ CANCEL, from pending, running, paused

A *turn* runs from pending to a final status. Only an interactive run's follow-up (REVIVE) leaves done or failed,
which begins the next turn; cancelled is final for good. Everything else that is not in the table cannot happen.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from perdure.contract import FINAL_STATUSES, RunStatus


class Trigger(StrEnum):
    """What can move a run's status."""

    BEGIN = "begin"
    """The first model step of a turn."""
    PAUSE = "pause"
    """A person or money is needed; waiting for a function or a retry is not a pause."""
    RESUME = "resume"
    FINISH = "finish"
    FAIL = "fail"
    CANCEL = "cancel"
    REVIVE = "revive"
    """A follow-up to an interactive run: the next turn."""


TRANSITIONS: Mapping[tuple[RunStatus, Trigger], RunStatus] = MappingProxyType(
    {
        (RunStatus.PENDING, Trigger.BEGIN): RunStatus.RUNNING,
        (RunStatus.RUNNING, Trigger.PAUSE): RunStatus.PAUSED,
        (RunStatus.PAUSED, Trigger.RESUME): RunStatus.RUNNING,
        (RunStatus.RUNNING, Trigger.FINISH): RunStatus.DONE,
        **{
            (status, move): target
            for move, target in (
                (Trigger.FAIL, RunStatus.FAILED),
                (Trigger.CANCEL, RunStatus.CANCELLED),
            )
            for status in (RunStatus.PENDING, RunStatus.RUNNING, RunStatus.PAUSED)
        },
        (RunStatus.DONE, Trigger.REVIVE): RunStatus.PENDING,
        (RunStatus.FAILED, Trigger.REVIVE): RunStatus.PENDING,
    }
)

UNFINISHED = frozenset(RunStatus) - FINAL_STATUSES
"""A turn is open: it can fail or be cancelled."""
EXECUTING = frozenset({RunStatus.RUNNING, RunStatus.PAUSED})
"""Calls may be with function workers, and hold their function's `concurrency`. Approvals are decided."""
APPROVABLE = frozenset({RunStatus.PENDING, RunStatus.RUNNING})
"""The run is paused when one of its calls needs an approval."""
UNSUCCESSFUL = frozenset({RunStatus.FAILED, RunStatus.CANCELLED})
"""The run has a `failureReason`."""


class InvalidTransitionError(Exception):
    """A move that the table does not have."""

    def __init__(self, status: RunStatus, trigger: Trigger) -> None:
        super().__init__(f"A run that is {status} cannot {trigger}.")
        self.status = status
        self.trigger = trigger


def next_status(status: RunStatus, trigger: Trigger) -> RunStatus:
    """The status that `trigger` leads to. Raises `InvalidTransitionError` where the table has no such move."""
    try:
        return TRANSITIONS[status, trigger]
    except KeyError:
        raise InvalidTransitionError(status, trigger) from None


def allows(status: RunStatus, trigger: Trigger) -> bool:
    """Whether the table has that move."""
    return (status, trigger) in TRANSITIONS


def is_final(status: RunStatus) -> bool:
    """Whether the status ends a turn."""
    return status in FINAL_STATUSES
