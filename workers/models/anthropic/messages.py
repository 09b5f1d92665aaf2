"""Converts conversations to the format of Anthropic's Messages API, and its responses back.

Pure: nothing here needs the provider's package at run time. What repeats from step to step of a run (tools,
system, earlier turns) comes out byte for byte the same, so that the provider's prompt cache holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.llm.messages import (
    AssistantTurn,
    ModelRequest,
    ModelResponse,
    StopReason,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    Usage,
    UserTurn,
)
from orchestrator.llm.providers import ANTHROPIC

if TYPE_CHECKING:
    from anthropic.types import Message

Block = dict[str, Any]

_STOPS = {
    "end_turn": StopReason.END,
    "stop_sequence": StopReason.END,
    "tool_use": StopReason.CALLS,
    "max_tokens": StopReason.LENGTH,
    "pause_turn": StopReason.PAUSE,
    "refusal": StopReason.REFUSAL,
    "model_context_window_exceeded": StopReason.CONTEXT,
}

_CACHED_USER_TURNS = 2
"""The API allows four cache marks: tools, system, and two for the conversation. The last user turn is where this
step writes, the one before is where the previous step wrote; a lookup reaches back only 20 blocks by itself."""

_NOTHING_SAID = "(empty)"
"""Replaces a message of white space, which the API refuses."""

_GO_ON = "Continue."


def to_system(text: str) -> list[Block]:
    """The system prompt as one cached block; none if there is no text."""
    return _cached([{"type": "text", "text": _sendable(text)}]) if text.strip() else []


def to_tools(tools: Iterable[Tool]) -> list[Block]:
    """The tools in their own order, cached up to the last."""
    return _cached([_to_tool(tool) for tool in tools])


def to_messages(request: ModelRequest) -> list[dict[str, Any]]:
    """The turns as messages of alternating roles; a turn without content joins its neighbours."""
    messages: list[dict[str, Any]] = []
    for role, blocks in _spoken(request.turns):
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"].extend(blocks)
        else:
            messages.append({"role": role, "content": blocks})
    users = [message for message in messages if message["role"] == "user"]
    for message in users[-_CACHED_USER_TURNS:]:
        _cached(message["content"])
    return messages


def to_reply(message: Message) -> ModelResponse:
    """Convert a complete message. Calls count only if the model stopped in order to make them:

    a tool use that a limit or a refusal cut off is incomplete and gets no result, so it is omitted from
    later requests as well.
    """
    stop = _STOPS.get(message.stop_reason or "", StopReason.END)
    blocks = [_returnable(block.to_dict(mode="json")) for block in message.content]
    kept = [block for block in blocks if _is_answerable(block, stop)]
    return ModelResponse(
        text="".join(block["text"] for block in kept if block["type"] == "text"),
        stop=stop,
        calls=tuple(
            ToolCall(id=block["id"], name=block["name"], input=block["input"])
            for block in kept
            if block["type"] == "tool_use"
        ),
        usage=_to_usage(message),
        blocks=tuple(kept),
        model=message.model,
        detail=_refusal(message),
        provider=ANTHROPIC.name,
    )


def _spoken(turns: tuple[Turn, ...]) -> Iterator[tuple[str, list[Block]]]:
    before: Turn | None = None
    for turn in turns:
        blocks = _assistant(turn) if isinstance(turn, AssistantTurn) else _user(turn, before)
        if blocks:
            yield ("assistant" if isinstance(turn, AssistantTurn) else "user"), blocks
        before = turn


def _user(turn: UserTurn, before: Turn | None) -> list[Block]:
    blocks = [_to_result(result) for result in turn.results]
    blocks += [{"type": "text", "text": _sendable(text)} for text in turn.texts if text.strip()]
    if blocks:
        return blocks
    if turn.texts:
        return [{"type": "text", "text": _NOTHING_SAID}]
    paused = isinstance(before, AssistantTurn) and before.reply.stop is StopReason.PAUSE
    return [] if paused else [{"type": "text", "text": _GO_ON}]


def _assistant(turn: AssistantTurn) -> list[Block]:
    """A reply of this provider is sent back verbatim; a reply of another provider is rendered from its text and calls."""
    if blocks := turn.blocks_of(ANTHROPIC.name):
        return [dict(block) for block in blocks]
    reply = turn.reply
    spoken: list[Block] = (
        [{"type": "text", "text": _sendable(reply.text)}] if reply.text.strip() else []
    )
    return spoken + [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": _object(call.input)}
        for call in reply.calls
    ]


def _to_result(result: ToolResult) -> Block:
    block: Block = {
        "type": "tool_result",
        "tool_use_id": result.id,
        "content": _sendable(result.content),
    }
    return {**block, "is_error": True} if result.is_error else block


def _to_tool(tool: Tool) -> Block:
    return {
        "name": tool.name,
        "description": _sendable(tool.description),
        "input_schema": {"type": "object", **tool.schema},
    }


def _cached(blocks: list[Block]) -> list[Block]:
    if blocks:
        blocks[-1] = {**blocks[-1], "cache_control": {"type": "ephemeral"}}
    return blocks


def _is_answerable(block: Mapping[str, Any], stop: StopReason) -> bool:
    if block["type"] == "tool_use":
        return stop is StopReason.CALLS
    return block["type"] != "text" or bool(block["text"].strip())


def _returnable(block: Block) -> Block:
    """A response block without fields that the API returns but does not accept: nulls, and the file of a citation."""
    kept = {key: value for key, value in block.items() if value is not None}
    if "citations" in kept:
        kept["citations"] = [
            {key: value for key, value in citation.items() if key != "file_id"}
            for citation in kept["citations"]
        ]
    return kept


def _to_usage(message: Message) -> Usage:
    usage = message.usage
    return Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_input_tokens or 0,
        cache_write_tokens=usage.cache_creation_input_tokens or 0,
    )


def _refusal(message: Message) -> str:
    details = message.stop_details
    return (details.explanation or details.category or "") if details else ""


def _object(value: object) -> object:
    return value if isinstance(value, dict) else {"value": value}  # pyright: ignore[reportUnknownVariableType]


def _sendable(text: str) -> str:
    """Text that UTF-8 can encode: a function's result may contain a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
