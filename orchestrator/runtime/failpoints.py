"""Fail-points: places where a process kills itself, so that a test can check what survives.

`PERDURE_FAIL_AT=name` or `name:n` arms one of them: the process sends itself SIGKILL when it reaches the point for the
n-th time (default 1). `PERDURE_FAIL_ONCE_FILE` names a file that is created just before; if it exists, nothing is killed,
so a restarted process continues. Without the first variable, passing a point costs one comparison.
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
    """API: the request to create a run is valid, nothing is written."""
    ROW_WRITTEN = "row-written"
    """API: the run is committed; neither its caller nor Temporal has been notified."""
    WORKFLOW_STARTED = "workflow-started"
    """API: Temporal has accepted the workflow; the caller may or may not have its response."""
    REQUEST_WRITTEN = "wish-written"
    """API: a request to a run (a message, an edit, a cancel, a decision) is committed; no other process is notified yet."""
    MODEL_CALL_IN_FLIGHT = "model-call-in-flight"
    """Temporal worker: the provider has sent the first part of its reply, so the step will be billed."""
    MODEL_ANSWERED = "model-answered"
    """Temporal worker: the provider has replied, nothing of the reply is recorded."""
    CALL_WAITING = "call-waiting"
    """API: it has received a call from Temporal and has not leased it to a function worker."""
    RESULT_ACCEPTED = "result-accepted"
    """API: a call's result is committed; its activity is not completed, its function worker has no response."""
    WAITING_FOR_APPROVAL = "waiting-for-approval"
    """Temporal worker: the run is paused in the store, for an approval or its budget; its workflow and its handler have
    not been notified.
    """
    RESULT_NOT_DELIVERED = "result-not-delivered"
    """Temporal worker: the run is done in the store; its workflow and its handler have not been notified."""


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
        """The fail-point that the environment arms, if any. Raises `ValueError` for a point that does not exist."""
        wanted = environment.get("PERDURE_FAIL_AT")
        if not wanted:
            return None
        name, _, passage = wanted.partition(":")
        once = environment.get("PERDURE_FAIL_ONCE_FILE")
        return cls(Point(name), int(passage or 1), Path(once) if once else None, die or _die)

    def passed(self, point: Point) -> None:
        """Count one passage of this point; kill the process at the requested one."""
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
    """The process reaches this point; if the point is armed for this passage, the process is killed here."""
    if _armed is not None:
        _armed.passed(point)


def reaching(point: Point, then: Callable[[], None]) -> Callable[[], None]:
    """`then`, preceded by the point; `then` itself if nothing is armed."""
    if _armed is None:
        return then

    def passing() -> None:
        reach(point)
        then()

    return passing
