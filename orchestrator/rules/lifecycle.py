"""The statuses of a run and the transitions between them.

    created ──► pending ──BEGIN──► running ──FINISH──► done ─────┐
                  ▲                 │    ▲                       │
                  │             PAUSE    RESUME                  │
                  │                 ▼    │                       │
                  │                paused                        │
                  │                                              │
                  └───────────REVIVE (the next turn)─── failed ◄─┤ FAIL, from pending, running, paused
                                                                 │
                                                    cancelled ◄──┘ CANCEL, from pending, running, paused

A *turn* runs from pending to a final status. Only an interactive run's follow-up (REVIVE) leaves done or failed
and begins the next turn; cancelled is permanent. Every transition that is not in the table is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from perdure.contract import FINAL_STATUSES, RunStatus


class Trigger(StrEnum):
    """What triggers a transition."""

    BEGIN = "begin"
    """The first model step of a turn."""
    PAUSE = "pause"
    """An approval or a higher budget is needed; waiting for a function or a retry is not a pause."""
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
"""Calls may be leased to function workers and count for their function's `concurrency`. Approvals can be decided."""
APPROVABLE = frozenset({RunStatus.PENDING, RunStatus.RUNNING})
"""The run pauses if one of its calls needs approval."""
UNSUCCESSFUL = frozenset({RunStatus.FAILED, RunStatus.CANCELLED})
"""The run has a `failureReason`."""


class InvalidTransitionError(Exception):
    """A transition that is not in the table."""

    def __init__(self, status: RunStatus, trigger: Trigger) -> None:
        super().__init__(f"A run that is {status} cannot {trigger}.")
        self.status = status
        self.trigger = trigger


def next_status(status: RunStatus, trigger: Trigger) -> RunStatus:
    """Return the status after `trigger`. Raises `InvalidTransitionError` if the table has no such transition."""
    try:
        return TRANSITIONS[status, trigger]
    except KeyError:
        raise InvalidTransitionError(status, trigger) from None


def allows(status: RunStatus, trigger: Trigger) -> bool:
    """Return whether the table has that transition."""
    return (status, trigger) in TRANSITIONS


def is_final(status: RunStatus) -> bool:
    """Return whether the status ends a turn."""
    return status in FINAL_STATUSES
