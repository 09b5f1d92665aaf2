"""How long runs stood still, by what was noted on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from orchestrator.rules.lifecycle import is_final
from perdure.contract import RunStatus
from tests.faults.checker.evidence import Evidence, Row

_AT_REST = frozenset({"run.waiting"})


LONG_MS = 6_000
"""A pause longer than this is distinguished by what it was between."""


def longest_pause(evidence: Evidence) -> float:
    """Seconds of the longest time in which nothing was noted on a run that was at work."""
    return max(map(_length, _pauses(evidence)), default=0) / 1000


def long_pauses(evidence: Evidence) -> str:
    """How many long ones there were, and between which events."""
    between = Counter(
        f"{before['type']} → {after['type']}"
        for before, after in _pauses(evidence)
        if _length((before, after)) > LONG_MS
    )
    return ", ".join(
        f"{count} x over {LONG_MS // 1000} s at {what}" for what, count in between.items()
    )


def all_back(evidence: Evidence) -> float | None:
    """Seconds from a process's return until each run that was at work then had moved on, the worst of all returns."""
    waits = [
        after["created_at"] - back
        for back in evidence.returns
        for before, after in _pauses(evidence)
        if before["created_at"] <= back < after["created_at"]
    ]
    return max(waits) / 1000 if waits else None


def _length(pause: tuple[Row, Row]) -> int:
    before, after = pause
    length: int = after["created_at"] - before["created_at"]
    return length


def _pauses(evidence: Evidence) -> Iterator[tuple[Row, Row]]:
    """Two events of a run with nothing between them, where it was at work."""
    for run in evidence.acknowledged:
        for before, after in pairwise(evidence.of(evidence.events, run)):
            if not _rests(before):
                yield before, after


def _rests(event: Row) -> bool:
    """Whether a run has nothing to do after this event until somebody comes."""
    if event["type"] == "run.status":
        status = RunStatus(event["status"])
        return status is RunStatus.PAUSED or is_final(status)
    return event["type"] in _AT_REST
