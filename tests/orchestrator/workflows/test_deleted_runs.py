"""What works for a run that was deleted is ended, whatever it waits for."""

from __future__ import annotations

import pytest
from temporalio.client import WorkflowExecutionStatus

from orchestrator.errors import UnavailableError
from orchestrator.settings import Settings
from orchestrator.temporal.client import Temporal, delivery_workflow_id, run_workflow_id
from orchestrator.workflows.interface import LIST_DUE_DELIVERIES, MODEL_STEP
from tests.orchestrator.workflows.play import Play
from tests.orchestrator.workflows.scenarios import scenarios


async def test_both_workflows_of_a_deleted_run_are_ended(play: Play) -> None:
    play.hold(MODEL_STEP)
    play.hold(LIST_DUE_DELIVERIES)
    await play.temporal.start_run(play.ref)
    await play.temporal.start_delivery(play.ref)
    await play.begun(MODEL_STEP)
    await play.begun(LIST_DUE_DELIVERIES)
    await play.temporal.end_run(play.ref)
    for workflow_id in (run_workflow_id(play.ref), delivery_workflow_id(play.ref)):
        description = await play.client.get_workflow_handle(workflow_id).describe()
        assert description.status is WorkflowExecutionStatus.TERMINATED
    play.release(MODEL_STEP)
    play.release(LIST_DUE_DELIVERIES)


async def test_what_has_ended_or_never_was_need_not_be_ended(play: Play) -> None:
    await play.temporal.end_run(play.ref)
    await scenarios.one_step(play)
    await play.temporal.end_run(play.ref)
    description = await play.client.get_workflow_handle(run_workflow_id(play.ref)).describe()
    assert description.status is WorkflowExecutionStatus.COMPLETED


async def test_a_temporal_that_is_away_is_reported_as_away(play: Play) -> None:
    away = Temporal(Settings(temporal_address="127.0.0.1:1"))
    with pytest.raises(UnavailableError):
        await away.end_run(play.ref)
