"""Places at which a process kills itself, so that a test can look at what survives it.

`PERDURE_FAIL_AT=name` or `name:n` arms one of them: the process ends itself there with SIGKILL on its n-th passage
(default 1). `PERDURE_FAIL_ONCE_FILE` names a file that is made just before; where it exists nothing is killed, so that a
process that is started again goes on. Without the first variable a passage is one comparison.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path


class Point(StrEnum):
    """The fail-points, in the order in which a run passes them."""

    REQUEST_ACCEPTED = "request-accepted"
    """API: the request to create a run is in order, nothing is written."""
    ROW_WRITTEN = "row-written"
    """API: the run is committed; neither its caller nor Temporal knows."""
    WORKFLOW_STARTED = "workflow-started"
    """API: Temporal has taken the workflow; the caller may or may not have been answered."""
    REQUEST_WRITTEN = "wish-written"
    """API: what a run is asked (a message, an edit, an end, a decision) is committed; nobody else knows."""
    MODEL_CALL_IN_FLIGHT = "model-call-in-flight"
    """Temporal worker: the provider gives its first sign of life, so the step is being paid."""
    MODEL_ANSWERED = "model-answered"
    """Temporal worker: the provider has answered, nothing of it is recorded."""
    CALL_WAITING = "call-waiting"
    """API: it has taken a call from Temporal and handed it to nobody."""
    RESULT_ACCEPTED = "result-accepted"
    """API: a call's result is committed; its activity is not completed, its machine not answered."""
    WAITING_FOR_APPROVAL = "waiting-for-approval"
    """Temporal worker: the run is paused in the store, for a person or for money; its workflow and its handler do not
    know."""
    RESULT_NOT_DELIVERED = "result-not-delivered"
    """Temporal worker: the run is done in the store; its workflow and its handler do not know."""


class FailPoint:
    """One armed point."""

    def __init__(
        self, point: Point, passage: int, once: Path | None, die: Callable[[], None]
    ) -> None:
        self._point = point
        self._left = passage
        self._once = once
        self._die = die

    @classmethod
    def read(
        cls, environment: Mapping[str, str], die: Callable[[], None] | None = None
    ) -> FailPoint | None:
        """What the environment arms, if anything. Raises `ValueError` for a point that does not exist."""
        wanted = environment.get("PERDURE_FAIL_AT")
        if not wanted:
            return None
        name, _, passage = wanted.partition(":")
        once = environment.get("PERDURE_FAIL_ONCE_FILE")
        return cls(Point(name), int(passage or 1), Path(once) if once else None, die or _die)

    def passed(self, point: Point) -> None:
        """Count a passage of this point; die at the one that was asked for."""
        if point is not self._point:
            return
        self._left -= 1
        if self._left == 0 and self._is_first():
            self._die()

    def _is_first(self) -> bool:
        if self._once is None:
            return True
        try:
            self._once.touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


_armed = FailPoint.read(os.environ)


def reach(point: Point) -> None:
    """The process is at this point; it does not come back from it where that is what was asked for."""
    if _armed is not None:
        _armed.passed(point)


def reaching(point: Point, then: Callable[[], None]) -> Callable[[], None]:
    """`then`, with the point before it; `then` itself where nothing is armed."""
    if _armed is None:
        return then

    def passing() -> None:
        reach(point)
        then()

    return passing
