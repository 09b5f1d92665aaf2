"""Runs that nobody named get a name in the background, and never wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.llm.messages import ErrorAction, ModelError
from orchestrator.llm.price_list import PriceList
from orchestrator.llm.providers import CLAUDE_HAIKU
from orchestrator.store import tables
from orchestrator.store.conversation.step_input import StepInput
from orchestrator.workflows.interface import ModelStepInput, RunRef, RunState
from tests.support.stage import USAGE, Stage
from tests.workers.model_step.naming_models import NamingModel, NamingModels
from workers.model_step.auxiliary_model import AuxiliaryModel
from workers.model_step.model_step import ModelStepRunner
from workers.model_step.run_naming import MAX_CONCURRENT, RunNamer


@pytest.fixture
def model() -> NamingModel:
    return NamingModel()


@pytest.fixture
def models(model: NamingModel) -> NamingModels:
    return NamingModels(model)


@pytest.fixture
async def run_namer(stage: Stage, models: NamingModels) -> AsyncGenerator[RunNamer]:
    run_namer = RunNamer(stage.store, AuxiliaryModel(stage.store, models), seconds=5)
    yield run_namer
    await run_namer.aclose()


@pytest.fixture
def step_runner(stage: Stage, models: NamingModels, run_namer: RunNamer) -> ModelStepRunner:
    return ModelStepRunner(stage.store, models, run_namer, max_output_tokens=1_000)


async def _unnamed(stage: Stage, **changes: Any) -> RunRef:
    return await stage.run(**{"name": "go", "name_source": "words", "prompt": "go", **changes})


async def _step(step_runner: ModelStepRunner, ref: RunRef, *, attempt: int = 1) -> RunState:
    question = await step_runner.begin(ModelStepInput(ref, 0), attempt)
    assert isinstance(question, StepInput)
    return (await step_runner.run(question, attempt=attempt, on_progress=lambda: None)).state


async def test_the_first_step_begins_the_name_and_does_not_wait_for_it(
    stage: Stage, step_runner: ModelStepRunner, run_namer: RunNamer, model: NamingModel
) -> None:
    ref = await _unnamed(stage)
    assert (await _step(step_runner, ref)).status == "done", "the name is not there yet"
    assert (await stage.get_run(ref)).name == "go"
    model.allowed.set()
    await run_namer.wait_idle()
    run = await stage.get_run(ref)
    assert (run.name, run.name_source) == ("A better name", "model")
    assert model.prompts == ["go"]


async def test_the_small_model_of_the_runs_provider_is_asked(
    stage: Stage,
    models: NamingModels,
    model: NamingModel,
    run_namer: RunNamer,
    step_runner: ModelStepRunner,
) -> None:
    model.allowed.set()
    await _step(step_runner, await _unnamed(stage, model="anthropic/claude-opus-5-5"))
    await run_namer.wait_idle()
    assert [name.model for name in models.asked] == ["claude-opus-5-5", CLAUDE_HAIKU]


async def test_the_settings_can_choose_another_model(
    stage: Stage, models: NamingModels, model: NamingModel
) -> None:
    model.allowed.set()
    small = AuxiliaryModel(stage.store, models, model="claude-haiku-4-5")
    assert await small.name(await stage.get_run(await stage.run()), "go") == "A better name"
    assert [name.model for name in models.asked] == ["claude-haiku-4-5"]


async def test_names_and_summaries_count_for_the_clusters_day(
    stage: Stage, models: NamingModels, model: NamingModel
) -> None:
    model.allowed.set()
    small = AuxiliaryModel(stage.store, models, model="claude-haiku-4-5")
    run = await stage.get_run(await stage.run())
    await asyncio.gather(*(small.name(run, "go") for _ in range(3)), small.summarize(run, "x", 9))
    (usage,) = await stage.rows(tables.usage_days)
    assert (usage["cluster_id"], usage["model"]) == (stage.cluster_id, "anthropic/claude-haiku-4-5")
    assert (usage["model_calls"], usage["input_tokens"]) == (4, 4 * USAGE.input_tokens)
    assert usage["cost_micros"] == 4 * PriceList().cost("anthropic/claude-haiku-4-5", USAGE) > 0
    assert (await stage.get_run(RunRef(stage.cluster_id, run.id))).input_tokens == 0


@pytest.mark.parametrize("kind", ["call", "structured"])
async def test_runs_that_nobody_sees_need_no_name(
    stage: Stage, run_namer: RunNamer, model: NamingModel, kind: str
) -> None:
    ref = await _unnamed(stage)
    question = await stage.begin_step(ref)
    run_namer.begin(replace(question, run=replace(question.run, kind=kind)), 1)
    await run_namer.wait_idle()
    assert model.prompts == []


async def test_a_name_that_was_given_is_not_asked_for(
    stage: Stage, step_runner: ModelStepRunner, run_namer: RunNamer, model: NamingModel
) -> None:
    model.allowed.set()
    await _step(step_runner, await stage.run(name="mine", name_source="given"))
    await run_namer.wait_idle()
    assert model.prompts == []


async def test_only_the_first_try_of_the_first_step_asks(
    stage: Stage, step_runner: ModelStepRunner, run_namer: RunNamer, model: NamingModel
) -> None:
    model.allowed.set()
    ref = await _unnamed(stage)
    await _step(step_runner, ref, attempt=2)
    await stage.send(ref, "and more")
    await _step(step_runner, ref)
    await run_namer.wait_idle()
    assert model.prompts == []


@pytest.mark.parametrize(
    "answer",
    [
        ModelError("no money", action=ErrorAction.PAUSE),
        RuntimeError("a bug"),
        "",
        "go",
    ],
)
async def test_where_that_fails_the_first_words_stay(
    stage: Stage,
    step_runner: ModelStepRunner,
    run_namer: RunNamer,
    model: NamingModel,
    answer: str | Exception,
) -> None:
    model.answer = answer
    model.allowed.set()
    ref = await _unnamed(stage)
    assert (await _step(step_runner, ref)).status == "done"
    await run_namer.wait_idle()
    run = await stage.get_run(ref)
    assert (run.name, run.name_source) == ("go", "words")
    assert await stage.events(ref, "run.named") == []


async def test_a_model_that_thinks_too_long_about_a_name_is_not_waited_for(
    stage: Stage, models: NamingModels, model: NamingModel
) -> None:
    run_namer = RunNamer(stage.store, AuxiliaryModel(stage.store, models), seconds=0.01)
    ref = await _unnamed(stage)
    run_namer.begin(await stage.begin_step(ref), 1)
    async with asyncio.timeout(10):
        await run_namer.wait_idle()
    assert model.busy == 0
    assert (await stage.get_run(ref)).name == "go"


async def test_only_a_few_names_are_asked_for_at_once(
    stage: Stage, run_namer: RunNamer, model: NamingModel
) -> None:
    refs = [await _unnamed(stage) for _ in range(MAX_CONCURRENT + 3)]
    for ref in refs:
        run_namer.begin(await stage.begin_step(ref), 1)
    model.allowed.set()
    await run_namer.wait_idle()
    assert model.busiest <= MAX_CONCURRENT
    assert {(await stage.get_run(ref)).name for ref in refs} == {"A better name"}


async def test_a_worker_that_stops_leaves_the_first_words(
    stage: Stage, run_namer: RunNamer, model: NamingModel
) -> None:
    ref = await _unnamed(stage)
    run_namer.begin(await stage.begin_step(ref), 1)
    await run_namer.aclose()
    assert model.busy == 0
    assert (await stage.get_run(ref)).name_source == "words"
