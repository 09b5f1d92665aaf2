"""A worker whose run is deleted under its hands has nothing left to do, and makes no noise about it."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.testing import ActivityEnvironment

from orchestrator.llm.messages import ErrorAction, ModelError, ModelResponse, StopReason
from orchestrator.workflows.interface import (
    EndTurnInput,
    ModelStepInput,
    PendingRequests,
    RunRef,
    RunState,
)
from tests.support.stage import Stage
from tests.workers.model_step.test_model_step import Parrot, ParrotModels
from workers.activities import Activities
from workers.model_step.auxiliary_model import AuxiliaryModel
from workers.model_step.model_step import ModelStepRunner
from workers.model_step.summarizer import Summarizer

_GONE = RunState("cancelled")


@pytest.fixture
def parrot() -> Parrot:
    return Parrot()


@pytest.fixture
def activities(stage: Stage, parrot: Parrot) -> Activities:
    models = ParrotModels(parrot)
    step_runner = ModelStepRunner(stage.store, models, max_output_tokens=1_000)
    summarizer = Summarizer(stage.store, AuxiliaryModel(stage.store, models))
    return Activities(stage.store, step_runner, summarizer)


async def _asked(activities: Activities, parrot: Parrot, ref: RunRef) -> asyncio.Future[RunState]:
    task = asyncio.ensure_future(
        ActivityEnvironment().run(activities.run_model_step, ModelStepInput(ref))
    )
    await parrot.was_asked(1)
    return task


@pytest.mark.parametrize("action", [None, *ErrorAction])
async def test_a_model_step_of_a_deleted_run_ends_quietly(
    stage: Stage, parrot: Parrot, activities: Activities, action: ErrorAction | None
) -> None:
    """Whatever the model answers."""
    ref = await stage.run()
    task = await _asked(activities, parrot, ref)
    await stage.store.deletion.delete(ref)
    if action is None:
        parrot.replies[0].set_result(ModelResponse("the answer", StopReason.END))
    else:
        parrot.replies[0].set_exception(ModelError("no", action=action))
    assert await task == _GONE


async def test_every_activity_of_a_deleted_run_ends_quietly(
    stage: Stage, activities: Activities
) -> None:
    ref = await stage.run()
    await stage.store.deletion.delete(ref)
    environment = ActivityEnvironment()
    assert await environment.run(activities.run_model_step, ModelStepInput(ref)) == _GONE
    assert await environment.run(activities.read_pending_requests, ref) == PendingRequests(
        over=True
    )
    await environment.run(activities.end_turn, EndTurnInput(ref, "fail", "why"))
