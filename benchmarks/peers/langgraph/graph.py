"""The graph that the development server serves: a scripted chat model and a node that runs its calls."""

from __future__ import annotations

import json
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from peerkit import job


@tool
async def look_up(number: int) -> dict[str, int]:
    """Look a number up: its square."""
    return job.look_up(number)


class ScriptedModel(BaseChatModel):
    """Asks for one call at a time."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=_reply(messages))])

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return self._generate(messages)


def _reply(messages: list[BaseMessage]) -> AIMessage:
    prompt = next(message.content for message in messages if isinstance(message, HumanMessage))
    results = [message.content for message in messages if isinstance(message, ToolMessage)]
    number = job.next_number(str(prompt), len(results))
    if number is None:
        squares = [json.loads(str(result))["square"] for result in results]
        return AIMessage(job.answer(squares))
    call = {"name": job.TOOL, "args": {"number": number}, "id": f"call-{number}"}
    return AIMessage("", tool_calls=[call])


_model = ScriptedModel()


async def think(state: MessagesState) -> dict[str, list[BaseMessage]]:
    """A model step."""
    return {"messages": [await _model.ainvoke(state["messages"])]}


_builder = StateGraph(MessagesState)
_builder.add_node("think", think)
_builder.add_node("tools", ToolNode([look_up]))
_builder.add_edge(START, "think")
_builder.add_conditional_edges("think", tools_condition)
_builder.add_edge("tools", "think")
graph = _builder.compile()
