"""A run's stored messages, and the conversation for the model that is made of them.

The message rows are the transcript; everything that a model receives is made from them by `turns`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from orchestrator.llm.messages import (
    AssistantTurn,
    ModelResponse,
    StopReason,
    ToolCall,
    ToolResult,
    Turn,
    UserTurn,
)
from orchestrator.llm.prompts import READ_TOOL, REASON_PARAMETER
from perdure.contract import INLINE_RESULT_CHARACTERS, MessageType


@dataclass(frozen=True, slots=True)
class TranscriptEntry:
    """One message row. `key` gives the order in which the rows were written."""

    key: int
    type: MessageType
    data: Mapping[str, JsonValue]
    characters: int = field(default=0, compare=False)
    """Of the row."""


def text_data(text: str) -> dict[str, JsonValue]:
    """Data of a human or supervisor message."""
    return {"message": text}


def reply_data(
    reply: ModelResponse, *, seen: int, selected_tools: Sequence[str] | None = None
) -> dict[str, JsonValue]:
    """Data of an agent message. `seen` is the key of the last message in the model's request.

    `selected_tools` names the functions of the request if they changed and are not all.
    """
    kept: dict[str, JsonValue] = {
        "stop": reply.stop.value,
        "blocks": [dict(block) for block in reply.blocks],
        "model": reply.model,
        "provider": reply.provider,
        "seen": seen,
    }
    if selected_tools is not None:
        kept["offered"] = list(selected_tools)
    data: dict[str, JsonValue] = {"reply": kept}
    if reply.text:
        data["message"] = reply.text
    if reply.calls:
        data["invocations"] = [_invocation(call) for call in reply.calls]
    return data


def _invocation(call: ToolCall) -> dict[str, JsonValue]:
    asked: dict[str, JsonValue] = {"id": call.id, "toolName": call.name, "input": call.input}
    return asked if call.reasoning is None else {**asked, "reasoning": call.reasoning}


def last_seen_key(data: Mapping[str, JsonValue]) -> int:
    """Of an agent message: the key of the last message in the model's request."""
    seen = _mapping(data["reply"])["seen"]
    return seen if isinstance(seen, int) else 0


def selected_tool_names(data: Mapping[str, JsonValue]) -> tuple[str, ...] | None:
    """Of an agent message: the functions of the model's request, if they had changed."""
    names = _mapping(data["reply"]).get("offered")
    return tuple(map(str, names)) if isinstance(names, list) else None


def result_data(
    result: ToolResult, *, call_id: str | None = None, summarized: bool = False
) -> dict[str, JsonValue]:
    """Data of an invocation-result message: the text that the model receives for a call's result."""
    data: dict[str, JsonValue] = {
        "id": result.id,
        "toolName": result.name,
        "result": result.content,
        "resultType": "rejection" if result.is_error else "resolution",
    }
    if call_id is not None:
        data["callId"] = call_id
    if summarized:
        data["summarized"] = True
    return data


def public_data(data: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Message data without the part that only the provider's module reads."""
    return {name: value for name, value in data.items() if name != "reply"}


def turns(entries: Iterable[TranscriptEntry]) -> tuple[Turn, ...]:
    """The conversation of these entries."""
    conversation = Conversation()
    for entry in entries:
        conversation.add(entry)
    return conversation.turns()


class Conversation:
    """Alternating turns made of entries: results in the order of the calls, then texts.

    A message that arrived while the model was busy is placed after the reply that did not include it, wherever its
    row was written: a sent prefix never changes, so the provider's prompt cache holds. Adding is cheap, so a
    worker keeps the conversation of a run and adds what is new.
    """

    def __init__(self) -> None:
        self._turns: list[Turn] = []
        self._asked: tuple[ToolCall, ...] = ()
        self._words: list[tuple[int, str]] = []
        self._results: dict[str, ToolResult] = {}

    def add(self, entry: TranscriptEntry) -> None:
        """Add the next entry, in the order of keys."""
        match entry.type:
            case MessageType.AGENT:
                self._add_reply(entry.data)
            case MessageType.INVOCATION_RESULT:
                result = _read_result(entry.data)
                self._results[result.id] = result
            case _:
                self._words.append((entry.key, str(entry.data["message"])))

    def turns(self) -> tuple[Turn, ...]:
        """The current conversation. Its last turn has everything that the model has not answered yet."""
        return (*self._turns, *self._user_turn([text for _, text in self._words]))

    def _add_reply(self, data: Mapping[str, JsonValue]) -> None:
        reply, seen = _read_reply(data), last_seen_key(data)
        self._turns += self._user_turn([text for key, text in self._words if key <= seen])
        self._words = [(key, text) for key, text in self._words if key > seen]
        self._results = {}
        self._turns.append(AssistantTurn(reply))
        self._asked = reply.calls

    def _user_turn(self, texts: list[str]) -> list[Turn]:
        results = tuple(self._results[call.id] for call in self._asked if call.id in self._results)
        return [UserTurn(results, tuple(texts))] if results or texts else []


def _read_reply(data: Mapping[str, JsonValue]) -> ModelResponse:
    kept = _mapping(data["reply"])
    return ModelResponse(
        text=str(data.get("message", "")),
        stop=StopReason(str(kept["stop"])),
        calls=tuple(map(_read_call, map(_mapping, _items(data.get("invocations", []))))),
        blocks=tuple(map(_mapping, _items(kept["blocks"]))),
        model=str(kept["model"]),
        provider=str(kept.get("provider", "anthropic")),  # missing before replies had one
    )


def _read_call(invocation: Mapping[str, JsonValue]) -> ToolCall:
    """The call as the model made it, with its reason if it gave one."""
    values = invocation["input"]
    if "reasoning" in invocation and isinstance(values, dict):
        values = {REASON_PARAMETER: invocation["reasoning"], **values}
    return ToolCall(str(invocation["id"]), str(invocation["toolName"]), values)


def _read_result(data: Mapping[str, JsonValue]) -> ToolResult:
    return ToolResult(
        id=str(data["id"]),
        name=str(data["toolName"]),
        content=str(data["result"]),
        is_error=data["resultType"] == "rejection",
    )


def _mapping(value: JsonValue) -> Mapping[str, JsonValue]:
    if not isinstance(value, dict):
        raise TypeError(f"A message row holds {type(value).__name__} where an object belongs.")
    return value


def _items(value: JsonValue) -> list[JsonValue]:
    if not isinstance(value, list):
        raise TypeError(f"A message row holds {type(value).__name__} where a list belongs.")
    return value


def is_oversized(content: str) -> bool:
    """Whether a result is too long for the model."""
    return len(content) > INLINE_RESULT_CHARACTERS


def truncate(content: str, *, call_id: str) -> str:
    """The beginning of a result that is too long, with a marker that explains how to read the rest."""
    shown = content[:INLINE_RESULT_CHARACTERS]
    return (
        f"{shown}\n[cut: {len(shown)} of {len(content)} characters shown; read the rest with "
        f'{READ_TOOL}, callId "{call_id}", offset {len(shown)}]'
    )


def summarized(summary: str, *, size: int, call_id: str) -> str:
    """A summary of a result that is too long, with how to read the original."""
    return (
        f"{summary}\n[summary of a result of {size} characters; read the original in parts with "
        f'{READ_TOOL}, callId "{call_id}"]'
    )


def slice_result(content: str, *, offset: int, size: int) -> str:
    """A part of a result, as the reading tool returns it."""
    end = offset + len(content)
    rest = f"{size - end} characters follow" if end < size else "the end"
    return f"{content}\n[characters {offset} to {end} of {size}; {rest}]"
