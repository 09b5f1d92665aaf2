"""Every scenario at a small scale. Deselected by default, since they take minutes: `make test ARGS="-m faults"`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.faults.failing_points import fail_at_every_point
from tests.faults.ground.load import Scale
from tests.faults.ground.postgres import killable_postgres
from tests.faults.scenarios.catalogue import SCENARIOS

pytestmark = [pytest.mark.faults, pytest.mark.timeout(700)]


@pytest.mark.parametrize("name", SCENARIOS)
def test_runs_survive(name: str, tmp_path: Path) -> None:
    outcome = asyncio.run(SCENARIOS[name](tmp_path, Scale()))
    assert outcome.is_right, str(outcome)


def test_runs_survive_every_fail_point_on_postgresql(tmp_path: Path) -> None:
    with killable_postgres() as postgres:
        outcomes = asyncio.run(fail_at_every_point(tmp_path, database_url=postgres.url))
    assert all(outcome.is_right for outcome in outcomes.values()), list(map(str, outcomes.values()))
