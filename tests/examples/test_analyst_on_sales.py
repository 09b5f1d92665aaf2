"""The scripted analyst and the example's real function, step by step as a run leads them: other data, other answer."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import BaseModel

from examples.sales.database import QueryError, read_rows
from examples.sales.functions import query_orders
from examples.sales.make_data import make_data
from orchestrator.llm.messages import (
    AssistantTurn,
    ModelRequest,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    UserTurn,
)
from orchestrator.llm.prompts import RESULT_TOOL, own_tools
from orchestrator.schema import as_tool_schema
from tests.examples.growth import who_grew_most
from workers.models.analyst.policy import analyst
from workers.models.scripted.model import ScriptedModel


class Finding(BaseModel):
    customer: str
    revenue: Decimal
    why: str


def offered() -> tuple[Tool, ...]:
    """What the server offers the model of this service: name, description, schema as the function registers them."""
    definition = query_orders.definition
    assert isinstance(definition.schema_, dict)
    function = Tool(f"sales_{definition.name}", definition.description or "", definition.schema_)
    return (function, *own_tools(as_tool_schema(Finding.model_json_schema()), wants_schema=True))


def answer(call: ToolCall, database: Path) -> ToolResult:
    sql = cast(dict[str, Any], call.input)["sql"]
    try:
        return ToolResult(call.id, call.name, json.dumps(read_rows(sql, database)))
    except QueryError as error:
        return ToolResult(call.id, call.name, str(error), is_error=True)


async def ask(database: Path) -> Finding:
    model, tools = ScriptedModel("analyst", analyst), offered()
    turns: list[Turn] = [UserTurn(texts=("Which customer grew most this quarter, and why?",))]
    for _ in range(10):
        request = ModelRequest(
            model="scripted/analyst",
            system="",
            turns=tuple(turns),
            tools=tools,
            result_tool=RESULT_TOOL,
        )
        reply = await model.generate(request, lambda: None)
        if reply.calls[0].name == RESULT_TOOL:
            return Finding.model_validate(cast(dict[str, Any], reply.calls[0].input)["result"])
        results = tuple(answer(call, database) for call in reply.calls)
        assert not any(result.is_error for result in results), results
        turns += [AssistantTurn(reply), UserTurn(results=results)]
    raise AssertionError("the analyst came to no end")


@pytest.mark.parametrize("seed", range(1, 9))
async def test_the_analyst_names_who_grew_most_by_plain_counting(tmp_path: Path, seed: int) -> None:
    make_data(tmp_path / "sales.db", seed=seed)
    finding = await ask(tmp_path / "sales.db")
    assert finding.customer == who_grew_most(tmp_path / "sales.db")
    assert finding.customer in finding.why


async def test_the_answer_changes_when_the_data_changes(tmp_path: Path) -> None:
    customers: set[str] = set()
    for seed in range(1, 5):
        make_data(tmp_path / "sales.db", seed=seed)
        customers.add((await ask(tmp_path / "sales.db")).customer)
    assert len(customers) > 1
