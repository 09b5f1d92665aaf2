"""What a transaction asks of the engine after its commit: start a workflow, or wake the one that is there.

The transaction that writes a request or a transition collects its wake-ups; whoever owns the database sends them when
the commit is done. They carry no data, and each can be lost: the sweeper finds in the store what nobody was woken for.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from orchestrator.workflows.interface import RunRef


class WakeupKind(StrEnum):
    """What is to be woken."""

    START = "start"
    """The workflow of a new run."""
    RUN = "run"
    """The run's workflow: it has an unread request."""
    DELIVERY = "delivery"
    """The workflow that delivers the run's status changes."""


class Wakeup(NamedTuple):
    """One wake-up. `priority` is the run's, 1 (first) to 5 (last), and counts for a start only."""

    kind: WakeupKind
    run: RunRef
    priority: int = 0
