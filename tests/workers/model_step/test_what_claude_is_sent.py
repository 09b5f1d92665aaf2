"""What the provider is really sent in the name of a run: who says what, what is kept back, and what stays the same."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from typing_extensions import override

from orchestrator.llm.messages import Model
from orchestrator.llm.model_names import ModelName
from orchestrator.llm.prompts import (
    CALCULATE_TOOL,
    READ_TOOL,
    REASON_PARAMETER,
    RESULT_TOOL,
    SEARCH_TOOL,
    TIME_TOOL,
)
from orchestrator.llm.tool_selection import MAX_TOOLS
from orchestrator.settings import Settings
from orchestrator.store import tables
from orchestrator.store.conversation.step_input import StepInput
from orchestrator.workflows.interface import ModelStepInput, RunRef, RunState
from perdure.contract import FunctionDefinition
from tests.support.anthropic_server import AnthropicServer, Body, Entry, serving
from tests.support.stage import Stage
from workers.model_step.model_step import ModelStepRunner
from workers.models import Models
from workers.models.anthropic.client import AnthropicModels

CLAUDE = "anthropic/claude-sonnet-5-5"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"sql": {"type": "string"}},
    "required": ["sql"],
    "additionalProperties": False,
}


class ClaudeOnly(Models):
    """Claude at a local server."""

    def __init__(self, provider: AnthropicModels) -> None:
        super().__init__(Settings())
        self._provider = provider

    @override
    async def get(self, name: ModelName) -> Model:
        return self._provider.model(name.model)


class Claude:
    """A worker's way to Claude, and what Claude was sent."""

    def __init__(self, stage: Stage, server: AnthropicServer, provider: AnthropicModels) -> None:
        self.stage = stage
        self.server = server
        self.models = ClaudeOnly(provider)
        self.thinker = self.worker()

    def worker(self) -> ModelStepRunner:
        """Another worker, which knows nothing of any run."""
        return ModelStepRunner(self.stage.store, self.models, max_output_tokens=1_000)

    async def step(
        self, ref: RunRef, *answer: dict[str, Any], step_runner: ModelStepRunner | None = None
    ) -> tuple[Body, RunState]:
        """One step to which Claude answers these blocks; what it was sent, and where the run stands then."""
        entry = {"content": list(answer)}
        self.server.script = _always(entry)
        step_runner = step_runner or self.thinker
        question = await step_runner.begin(ModelStepInput(ref, 0), 1)
        assert isinstance(question, StepInput)
        state, _ = await step_runner.run(question, attempt=1, on_progress=lambda: None)
        return self.server.requests[-1], state


def _always(entry: Entry) -> Callable[[Body], Entry]:
    return lambda body: entry


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _use(name: str, /, **value: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{name}", "name": name, "input": value}


def _tools(body: Body) -> dict[str, Any]:
    return {tool["name"]: tool["input_schema"] for tool in body["tools"]}


def _results(body: Body) -> list[Any]:
    return [block["content"] for block in body["messages"][-1]["content"]]


@pytest.fixture
async def claude(stage: Stage) -> AsyncGenerator[Claude]:
    async with serving(AnthropicServer()) as server:
        provider = AnthropicModels("key", base_url=server.url, read_timeout=10)
        yield Claude(stage, server, provider)
        await provider.aclose()


async def _register(stage: Stage, *names: str, **definition: Any) -> None:
    definitions = [FunctionDefinition(name=name, **definition) for name in names]
    await stage.store.functions.register(
        stage.cluster_id, "m1", "sales", definitions, heartbeats=True, alive_until=2**52
    )


async def test_system_text_and_human_text_stay_apart_and_secrets_stay_here(
    stage: Stage, claude: Claude
) -> None:
    await _register(stage, "query", schema=SCHEMA)
    ref = await stage.run(
        model=CLAUDE,
        system_prompt="SYSTEM WORDS",
        prompt="HUMAN WORDS",
        context={"token": "CONTEXT SECRET"},
        auth_context={"user": "AUTH SECRET"},
        metadata={"team": "METADATA"},
    )
    await stage.store.clusters.change(stage.cluster_id, {"additional_context": "CLUSTER WORDS"})
    _, state = await claude.step(ref, _use("sales_query", sql="select 1"))
    await stage.lease_and_finish(ref, state.orders[0].call_id, "RESULT WORDS")
    body, _ = await claude.step(ref, _text("done"))
    system, messages = json.dumps(body["system"]), json.dumps(body["messages"])
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    for words, inside, outside in (
        ("SYSTEM WORDS", system, messages),
        ("CLUSTER WORDS", system, messages),
        ("HUMAN WORDS", messages, system),
        ("RESULT WORDS", messages, system),
    ):
        assert words in inside
        assert words not in outside
    whole = json.dumps(claude.server.requests)
    for secret in ("CONTEXT SECRET", "AUTH SECRET", "METADATA"):
        assert secret not in whole


async def test_reasons_are_asked_for_removed_and_sent_back_as_they_were_sent(
    stage: Stage, claude: Claude
) -> None:
    await _register(stage, "query", schema=SCHEMA)
    ref = await stage.run(model=CLAUDE)
    said = _use("sales_query", **{REASON_PARAMETER: "To see.", "sql": "select 1"})
    first, state = await claude.step(ref, said)
    assert list(_tools(first)["sales_query"]["properties"]) == [REASON_PARAMETER, "sql"]
    for own in (READ_TOOL, RESULT_TOOL, CALCULATE_TOOL, TIME_TOOL):
        assert REASON_PARAMETER not in _tools(first)[own]["properties"]
    (order,) = state.orders
    assert (await stage.call_row(order.call_id))["reasoning"] == "To see."
    assert (await stage.lease(ref, order.call_id)).input == {"sql": "select 1"}
    await stage.finish(order.call_id)
    second, _ = await claude.step(ref, _text("done"))
    assert second["messages"][1]["content"] == [said]
    assert json.dumps(second["tools"]) == json.dumps(first["tools"]), "the prompt cache holds"
    assert json.dumps(second["system"]) == json.dumps(first["system"])


async def test_without_reasoning_traces_nobody_is_asked_why(stage: Stage, claude: Claude) -> None:
    await _register(stage, "query", schema=SCHEMA)
    body, _ = await claude.step(
        await stage.run(model=CLAUDE, reasoning_traces=False), _text("done")
    )
    assert REASON_PARAMETER not in json.dumps(body)


async def test_the_standard_library_is_answered_in_the_step_itself(
    stage: Stage, claude: Claude
) -> None:
    ref = await stage.run(model=CLAUDE)
    _, state = await claude.step(
        ref,
        _use(CALCULATE_TOOL, expression="0.1 + 0.2"),
        _use(TIME_TOOL, timeZone="Asia/Tokyo"),
    )
    assert (state.status, state.orders) == ("running", [])
    assert await stage.rows(tables.calls) == []
    body, _ = await claude.step(ref, _text("done"))
    value, time = _results(body)
    assert value == "0.3"
    assert json.loads(time)["timeZone"] == "Asia/Tokyo"
    assert json.loads(time)["time"].endswith("+09:00")


async def test_an_error_of_the_library_goes_to_the_model(stage: Stage, claude: Claude) -> None:
    ref = await stage.run(model=CLAUDE)
    await claude.step(ref, _use(CALCULATE_TOOL, expression="9**9**9"))
    body, _ = await claude.step(ref, _text("done"))
    (block,) = body["messages"][-1]["content"]
    assert block["is_error"]
    assert "digits" in block["content"]


async def test_a_library_that_the_run_was_not_given_is_neither_offered_nor_answered(
    stage: Stage, claude: Claude
) -> None:
    ref = await stage.run(model=CLAUDE, attached_functions=[])
    body, _ = await claude.step(ref, _use(CALCULATE_TOOL, expression="1 + 1"))
    assert set(_tools(body)) == {READ_TOOL, RESULT_TOOL}
    body, _ = await claude.step(ref, _text("done"))
    assert "no function" in _results(body)[0]


async def test_of_a_thousand_functions_some_are_offered_and_the_rest_is_found(
    stage: Stage, claude: Claude
) -> None:
    for service in ("weather", "parcels", "garden", "sales"):
        await stage.register(*(f"{service}_{n:03}" for n in range(250)), service=service)
    ref = await stage.run(model=CLAUDE, prompt="What does the weather do to sales?")
    first, _ = await claude.step(ref, _use(SEARCH_TOOL, query="garden 007", limit=3))
    offered = [name for name in _tools(first) if not name.startswith("perdure_")]
    assert len(offered) == MAX_TOOLS
    assert not any("garden" in name for name in offered)
    second, state = await claude.step(ref, _use("parcels_parcels_200"))
    assert json.loads(_results(second)[0])[0]["name"] == "garden_garden_007"
    grown = [name for name in _tools(second) if not name.startswith("perdure_")]
    assert grown[: len(offered)] == offered
    assert "garden_garden_007" in grown[len(offered) :]
    assert len(state.orders) == 1, "a function that was not offered can be called"
    await stage.lease_and_finish(ref, state.orders[0].call_id)
    third, _ = await claude.step(ref, _text("done"), step_runner=claude.worker())
    assert json.dumps(third["tools"]) == json.dumps(second["tools"])


async def test_a_conversation_that_was_cut_back_is_read_again(stage: Stage, claude: Claude) -> None:
    ref = await stage.run(model=CLAUDE, prompt="The first words.")
    await claude.step(ref, _use(CALCULATE_TOOL, expression="1 + 1"))
    runs, messages = tables.runs, tables.messages
    await stage.alter(messages, messages.c.type != "human", replaced_by="edited")
    await stage.alter(messages, messages.c.type == "human", data='{"message":"Other words."}')
    await stage.alter(runs, runs.c.id == ref.run_id, rewinds=1)
    body, _ = await claude.step(ref, _text("done"))
    assert [message["role"] for message in body["messages"]] == ["user"]
    assert body["messages"][0]["content"][0]["text"] == "Other words."
