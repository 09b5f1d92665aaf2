"""How long runs stood still, by what was noted on them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from orchestrator.lifecycle import is_final
from perdure.contract import RunStatus
from tests.faults.evidence import Evidence, Row

_AT_REST = frozenset({"run.waiting"})


def longest_pause(evidence: Evidence) -> float:
    """Seconds of the longest time in which nothing was noted on a run that was at work."""
    return max((after - before for before, after in _pauses(evidence)), default=0) / 1000


def all_back(evidence: Evidence) -> float | None:
    """Seconds from a process's return until each run that was at work then had moved on, the worst of all returns."""
    waits = [
        after - back
        for back in evidence.returns
        for before, after in _pauses(evidence)
        if before <= back < after
    ]
    return max(waits) / 1000 if waits else None


def _pauses(evidence: Evidence) -> Iterator[tuple[int, int]]:
    """Times of two events of a run with nothing between them, where it was at work."""
    for run in evidence.acknowledged:
        for before, after in pairwise(evidence.of(evidence.events, run)):
            if not _rests(before):
                yield before["created_at"], after["created_at"]


def _rests(event: Row) -> bool:
    """Whether a run has nothing to do after this event until somebody comes."""
    if event["type"] == "run.status":
        status = RunStatus(event["status"])
        return status is RunStatus.PAUSED or is_final(status)
    return event["type"] in _AT_REST
