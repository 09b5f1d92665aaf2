"""Rules of the real Messages API that a fake would otherwise let pass: each broken one as a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

Body = Mapping[str, Any]
Block = Mapping[str, Any]

_VERSION = "2026-10-21"
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_ID = re.compile(r"[a-zA-Z0-9_-]+")
_MAX_CACHE_MARKS = 4
_TOP = {"model", "max_tokens", "messages", "system", "tools", "tool_choice", "stream", "metadata"}
_FIELDS = {
    "text": {"type", "text", "cache_control", "citations"},
    "thinking": {"type", "thinking", "signature"},
    "redacted_thinking": {"type", "data"},
    "tool_use": {"type", "id", "name", "input", "cache_control", "caller"},
    "tool_result": {"type", "tool_use_id", "content", "is_error", "cache_control"},
    "server_tool_use": {"type", "id", "name", "input", "cache_control", "caller"},
}
_ROLES = {
    "user": {"text", "tool_result"},
    "assistant": {"text", "thinking", "redacted_thinking", "tool_use", "server_tool_use"},
}
_CITATION = {
    "type",
    "cited_text",
    "document_index",
    "document_title",
    "start_char_index",
    "end_char_index",
}


def violations(body: Body, headers: Mapping[str, str]) -> list[str]:
    """Everything the API would refuse about this request."""
    messages = body.get("messages", [])
    return [
        *_top(body, headers),
        *_tools(body.get("tools", [])),
        *_order(messages),
        *(problem for message in messages for problem in _content(message)),
        *_answers(messages),
        *_marks(body),
    ]


def _top(body: Body, headers: Mapping[str, str]) -> Iterator[str]:
    if headers.get("anthropic-version") != _VERSION:
        yield f"anthropic-version is not {_VERSION}"
    for name in sorted(set(body) - _TOP):
        yield f"{name}: extra inputs are not permitted"
    if not isinstance(body.get("max_tokens"), int) or body["max_tokens"] < 1:
        yield "max_tokens: field required"
    if not body.get("model"):
        yield "model: field required"
    if body.get("stream") is not True:
        yield "streaming is required for operations that may take long"
    if "system" in body and not body["system"]:
        yield "system: at least one block"


def _tools(tools: Iterable[Block]) -> Iterator[str]:
    seen: set[str] = set()
    for tool in tools:
        if not _NAME.fullmatch(tool["name"]):
            yield f"tools.{tool['name']}: name does not match"
        if tool["name"] in seen:
            yield f"tools.{tool['name']}: names must be unique"
        seen.add(tool["name"])
        if tool["input_schema"].get("type") != "object":
            yield f"tools.{tool['name']}: input_schema.type must be object"


def _order(messages: list[Body]) -> Iterator[str]:
    if not messages:
        yield "messages: at least one message is required"
        return
    if messages[0]["role"] != "user":
        yield "messages: the first must be of the user"
    for before, after in pairwise(messages):
        if before["role"] == after["role"]:
            yield f"messages: roles must alternate, but found two of the {after['role']}"


def _content(message: Body) -> Iterator[str]:
    if not message["content"]:
        yield f"messages: a message of the {message['role']} has no content"
    for block in _blocks(message):
        kind = block["type"]
        if kind not in _ROLES[message["role"]]:
            yield f"messages: {kind} is not allowed for the {message['role']}"
        for name in sorted(set(block) - _FIELDS.get(kind, set())):
            yield f"messages.{kind}.{name}: extra inputs are not permitted"
        yield from _block(block)


def _block(block: Block) -> Iterator[str]:
    if block["type"] == "text" and not block["text"].strip():
        yield "messages: text content blocks must contain non-whitespace text"
    if block["type"] == "tool_use" and not isinstance(block["input"], dict):
        yield "messages.tool_use.input: must be an object"
    if block["type"] == "tool_use" and not _ID.fullmatch(block["id"]):
        yield "messages.tool_use.id: does not match"
    for citation in block.get("citations") or ():
        for name in sorted(set(citation) - _CITATION):
            yield f"messages.citation.{name}: extra inputs are not permitted"
    if any(value is None for name, value in block.items() if name != "citations"):
        yield f"messages.{block['type']}: null is not allowed"


def _answers(messages: list[Body]) -> Iterator[str]:
    """Every tool_use is answered in the very next message, and that message begins with the answers."""
    asked: list[str] = []
    for message in messages:
        blocks = _blocks(message)
        kinds = [block["type"] for block in blocks]
        answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if sorted(answered) != sorted(asked):
            yield f"messages: tool_use {asked} is answered by tool_result {answered}"
        if kinds[: len(answered)] != ["tool_result"] * len(answered):
            yield "messages: tool_result blocks must come first"
        asked = [block["id"] for block in blocks if block["type"] == "tool_use"]
    if asked:
        yield f"messages: tool_use {asked} is not answered"


def _marks(body: Body) -> Iterator[str]:
    blocks: list[Block] = [*body.get("tools", []), *body.get("system", [])]
    for message in body.get("messages", []):
        blocks += _blocks(message)
    if sum("cache_control" in block for block in blocks) > _MAX_CACHE_MARKS:
        yield f"a maximum of {_MAX_CACHE_MARKS} blocks with cache_control may be provided"


def _blocks(message: Body) -> list[Block]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
