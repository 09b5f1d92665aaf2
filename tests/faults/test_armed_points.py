"""A fail-point is armed by the environment alone, once, and costs nothing where it is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.runtime.failpoints import FailPoint, Point, reach, reaching


def _deaths(environment: dict[str, str], *passed: Point) -> int:
    died: list[None] = []
    armed = FailPoint.read(environment, lambda: died.append(None))
    assert armed is not None
    for point in passed:
        armed.passed(point)
    return len(died)


@pytest.mark.parametrize("environment", [{}, {"PERDURE_FAIL_AT": ""}])
def test_nothing_is_armed_without_the_variable(environment: dict[str, str]) -> None:
    assert FailPoint.read(environment) is None


def test_a_point_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="nowhere"):
        FailPoint.read({"PERDURE_FAIL_AT": "nowhere"})


def test_only_the_named_point_kills_and_only_at_the_passage_asked_for() -> None:
    environment = {"PERDURE_FAIL_AT": "row-written:2"}
    assert _deaths(environment, Point.ROW_WRITTEN, Point.CALL_WAITING) == 0
    assert _deaths(environment, Point.ROW_WRITTEN, Point.ROW_WRITTEN, Point.ROW_WRITTEN) == 1


def test_the_file_makes_it_once_over_restarts(tmp_path: Path) -> None:
    once = {"PERDURE_FAIL_AT": "row-written", "PERDURE_FAIL_ONCE_FILE": str(tmp_path / "once")}
    assert _deaths(once, Point.ROW_WRITTEN) == 1
    assert _deaths(once, Point.ROW_WRITTEN) == 0


def test_an_unarmed_passage_changes_nothing() -> None:
    passed: list[int] = []

    def then() -> None:
        passed.append(1)

    assert reaching(Point.MODEL_CALL_IN_FLIGHT, then) is then
    reach(Point.MODEL_CALL_IN_FLIGHT)
    assert passed == []


@pytest.mark.usefixtures("processes")
def test_an_armed_process_ends_by_sigkill() -> None:
    code = "from orchestrator.runtime.failpoints import Point, reach; reach(Point.ROW_WRITTEN)"
    environment = {
        **os.environ,
        "PERDURE_FAIL_AT": "row-written",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    ended = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
