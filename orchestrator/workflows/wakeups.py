"""Wake-ups that a transaction requests for after its commit: start a workflow or signal a running one.

The transaction that writes a request or a transition collects its wake-ups; the owner of the database sends them
after the commit. They carry no data and can be lost: the sweeper finds unread requests in the store.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from orchestrator.workflows.interface import RunRef


class WakeupKind(StrEnum):
    """The kinds of workflows to wake up."""

    START = "start"
    """The workflow of a new run."""
    RUN = "run"
    """The run's workflow: it has an unread request."""
    DELIVERY = "delivery"
    """The workflow that delivers the run's status changes."""


class Wakeup(NamedTuple):
    """One wake-up. `priority` is the run's, 1 (first) to 5 (last), and applies to a start only."""

    kind: WakeupKind
    run: RunRef
    priority: int = 0
