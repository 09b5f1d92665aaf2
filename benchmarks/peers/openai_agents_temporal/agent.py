"""The agent, its scripted model, and its tool."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from agents import Agent, Model, ModelResponse
from agents.items import TResponseStreamEvent
from peerkit import job
from temporalio import activity
from temporalio.openai_agents.testing import ResponseBuilders
from temporalio.openai_agents.workflow import activity_as_tool


@activity.defn
async def look_up(number: int) -> str:
    """Look a number up: its square."""
    return json.dumps(job.look_up(number))


class ScriptedModel(Model):
    """Asks for one call at a time."""

    async def get_response(self, *_: Any, **asked: Any) -> ModelResponse:
        """The reply to a conversation."""
        said = asked["input"]
        items = said if isinstance(said, list) else [{"role": "user", "content": said}]
        prompt = next(item["content"] for item in items if item.get("role") == "user")
        results = [item["output"] for item in items if item.get("type") == "function_call_output"]
        number = job.next_number(prompt, len(results))
        if number is None:
            squares = [json.loads(result)["square"] for result in results]
            return ResponseBuilders.output_message(job.answer(squares))
        arguments = json.dumps({"number": number})
        return ResponseBuilders.tool_call(arguments, job.TOOL, call_id=f"call-{number}")

    def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[TResponseStreamEvent]:
        """Nobody asks for a stream here."""
        raise RuntimeError("this model gives whole replies only")


def new_agent() -> Agent[None]:
    """An agent, as made in each workflow."""
    tool = activity_as_tool(look_up, start_to_close_timeout=timedelta(seconds=60))
    return Agent(name="peer", model="scripted", tools=[tool])
