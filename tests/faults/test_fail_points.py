"""At every fail-point a process kills itself in the middle of a run, and the run still ends right."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.checker.outcome import Outcome
from tests.faults.failing_points import POINTS, fail_at_every_point

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def outcomes(processes: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """What came of killing a process at each point, all on one stack."""
    return asyncio.run(fail_at_every_point(tmp_path_factory.mktemp("points")))


@pytest.mark.parametrize("point", POINTS)
def test_a_run_survives_a_process_killed_at(point: str, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[point]
    assert outcome.runs > 0
    assert outcome.is_right, str(outcome)
