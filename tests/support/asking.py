"""Asking the real Anthropic client something."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator.llm.messages import ModelError, ModelRequest, ModelResponse, Tool, Turn, UserTurn
from workers.models.anthropic.client import AnthropicModels

KEY = "house-key-12345"
TOOLS = (
    Tool("shop_prices", "Prices.", {"properties": {"of": {"type": "string"}}}),
    Tool("shop_stock", "Stock.", {"type": "object", "properties": {}, "required": []}),
)
OVERLOADED = {"type": "overloaded_error", "message": "Overloaded"}
SPEND_LIMIT = {
    "type": "rate_limit_error",
    "message": "The limit of the month is reached.",
    "details": {"error_code": "enforced_spend_limit_reached"},
}


def request_of(*turns: Turn, **changes: Any) -> ModelRequest:
    values: dict[str, Any] = {"system": "Be brief.", "tools": TOOLS, "max_output_tokens": 500}
    return ModelRequest(model="claude-sonnet-5-5", turns=turns, **{**values, **changes})


def script(*entries: Mapping[str, Any]) -> UserTurn:
    return UserTurn(texts=(json.dumps(entries),))


async def generate(provider: AnthropicModels, *turns: Turn, **changes: Any) -> ModelResponse:
    model = provider.model("claude-sonnet-5-5")
    return await model.generate(request_of(*turns, **changes), lambda: None)


async def generate_error(provider: AnthropicModels, *turns: Turn, **changes: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await generate(provider, *turns, **changes)
    assert caught.value.__cause__ is None
    return caught.value


def unmarked(value: Any) -> Any:
    """The value without cache marks, which move along with the conversation."""
    if isinstance(value, list):
        return [unmarked(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, dict):
        return {k: unmarked(v) for k, v in value.items() if k != "cache_control"}  # pyright: ignore[reportUnknownVariableType]
    return value
