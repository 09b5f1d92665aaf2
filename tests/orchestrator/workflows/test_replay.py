"""Runs that are under way survive an upgrade: the histories of earlier days still replay."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from orchestrator.workflows.delivery_workflow import DeliveryWorkflow
from orchestrator.workflows.run_workflow import RunWorkflow
from tests.orchestrator.workflows.play import Play
from tests.orchestrator.workflows.sandbox import sandboxed_runner
from tests.orchestrator.workflows.scenarios.broken import BrokenRunWorkflow, HastyRunWorkflow
from tests.orchestrator.workflows.scenarios.repertoire import SCENARIOS
from tests.orchestrator.workflows.scenarios.scenarios import Scenario
from tests.support.temporal_server import IDENTITY

FOLDER = Path(__file__).parents[2] / "compatibility" / "histories"
RECORDED = sorted(FOLDER.glob("*.json"))
RUNS = [path for path in RECORDED if '"name": "run"' in path.read_text()]


def _history(path: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(path.stem, path.read_text())


def _replayer(*workflows: type) -> Replayer:
    return Replayer(workflows=workflows, workflow_runner=sandboxed_runner())


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
async def test_a_recorded_history_still_replays(path: Path) -> None:
    await _replayer(RunWorkflow, DeliveryWorkflow).replay_workflow(_history(path))


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
async def test_a_workflow_that_changed_would_be_noticed(path: Path) -> None:
    with pytest.raises(NondeterminismError):
        await _replayer(BrokenRunWorkflow, DeliveryWorkflow).replay_workflow(_history(path))


async def test_a_workflow_that_asks_for_the_time_would_be_noticed() -> None:
    with pytest.raises(RuntimeError, match=r"Cannot access time\.time"):
        await _replayer(HastyRunWorkflow, DeliveryWorkflow).replay_workflow(_history(RUNS[0]))


def test_every_scenario_is_recorded() -> None:
    assert {path.stem.partition("-")[0] for path in RECORDED} == set(SCENARIOS)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_history_names_neither_a_machine_nor_a_folder(path: Path) -> None:
    text = path.read_text()
    assert set(re.findall(r'"identity": "([^"]*)"', text)) == {IDENTITY}
    assert "stackTrace" not in text


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
async def test_what_was_just_played_replays(play: Play, scenario: Scenario) -> None:
    """The cache is off in a replay, so this also says that nothing but the history decided."""
    for history in await scenario(play):
        await _replayer(RunWorkflow, DeliveryWorkflow).replay_workflow(history)
