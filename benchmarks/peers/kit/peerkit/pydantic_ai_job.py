"""The job in the terms of pydantic-ai, for the three peers that stand on it: its own function model, and the tool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel

from peerkit import job


async def look_up(number: int) -> dict[str, int]:
    """Look a number up: its square."""
    return job.look_up(number)


def scripted_model() -> FunctionModel:
    """A model that asks for one call at a time."""
    return FunctionModel(_reply, model_name="scripted")


async def _reply(messages: list[ModelMessage], _info: AgentInfo) -> ModelResponse:
    parts = list(_request_parts(messages))
    prompt = next(part.content for part in parts if isinstance(part, UserPromptPart))
    results = [part for part in parts if isinstance(part, ToolReturnPart)]
    number = job.next_number(str(prompt), len(results))
    if number is None:
        squares = [part.content["square"] for part in results]
        return ModelResponse(parts=[TextPart(job.answer(squares))])
    return ModelResponse(
        parts=[ToolCallPart(job.TOOL, {"number": number}, tool_call_id=f"call-{number}")]
    )


def _request_parts(messages: Sequence[ModelMessage]) -> Iterator[object]:
    for message in messages:
        if isinstance(message, ModelRequest):
            yield from message.parts
