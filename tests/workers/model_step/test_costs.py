"""What a step costs is kept with it, by the price of the run's model."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.llm.messages import ModelResponse, StopReason, Usage
from orchestrator.llm.price_list import PriceList, parse_prices
from orchestrator.store import tables
from orchestrator.store.conversation.step_input import StepInput
from orchestrator.workflows.interface import ModelStepInput
from tests.support.stage import Stage
from tests.workers.model_step.test_model_step import Parrot, ParrotModels
from workers.model_step.model_step import ModelStepRunner

_SET = parse_prices(
    '{"scripted/inline": {"input": 3, "output": 15, "cacheRead": 0.3, "cacheWrite": 3.75}}'
)


@pytest.mark.parametrize(
    ("model", "prices", "cost"),
    [
        ("scripted/inline", _SET, 3_000 + 1_500 + 3 + 38),
        ("scripted/inline", PriceList(), 0),
        ("anthropic/claude-opus-5-5", _SET, 4_000 + 2_000 + 2 + 50),
    ],
)
async def test_a_step_keeps_what_its_tokens_cost(
    stage: Stage, model: str, prices: PriceList, cost: int
) -> None:
    parrot = Parrot()
    step_runner = ModelStepRunner(
        stage.store, ParrotModels(parrot), max_output_tokens=1_000, prices=prices
    )
    ref = await stage.run(model=model)
    question = await step_runner.begin(ModelStepInput(ref), 1)
    assert isinstance(question, StepInput)
    thinking = asyncio.create_task(step_runner.run(question, attempt=1, on_progress=lambda: None))
    await parrot.was_asked(1)
    parrot.replies[0].set_result(
        ModelResponse("done", StopReason.END, usage=Usage(1_000, 100, 10, 10))
    )
    await thinking

    assert [row["cost_micros"] for row in await stage.rows(tables.steps)] == [cost]
    assert (await stage.get_run(ref)).cost_micros == cost
