"""The tools of a model request: what a run may call, which of it the request offers, and the search for the rest.

A function that was offered once stays offered, in its order: the first step's best matches, then what the model found
or what later messages matched. The list is stored with the replies, so that every worker offers the same.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from orchestrator.llm.builtin_tools import BUILT_IN_TOOLS, built_in_tools
from orchestrator.llm.messages import Tool, ToolCall, ToolResult
from orchestrator.llm.prompts import MAX_FOUND, SEARCH_TOOL, own_tools, with_reason_parameter
from orchestrator.llm.tool_search import rank_tools
from orchestrator.llm.tools import (
    DEFAULT_DEADLINE_MS,
    DEFAULT_TIMEOUT_MS,
    AvailableFunction,
    tool_name,
)
from orchestrator.llm.transcript import TranscriptEntry, last_seen_key, selected_tool_names
from perdure.contract import INLINE_RESULT_CHARACTERS, MessageType

MAX_TOOLS = 64
"""Maximum functions in a run's first request."""
MAX_TOOL_CHARACTERS = 100_000
"""Maximum characters of names, descriptions and schemas in the first request."""
MAX_FOUND_TOOLS = 128
"""Maximum functions in a request, including found ones: the model calls further ones from the search result."""
_PER_MESSAGE = 8
"""Maximum functions that a later message adds."""
_DEFAULT_FOUND = 5
_MAX_DESCRIPTION = INLINE_RESULT_CHARACTERS // MAX_FOUND // 2
"""Characters of a description in a search result; the request has the complete description."""
_MAX_QUERY_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True)
class RunTools:
    """What a run may call."""

    functions: tuple[AvailableFunction, ...] = ()
    """Functions and mocks, ordered by tool name."""
    built_in: frozenset[str] = BUILT_IN_TOOLS
    """Names of built-in tools."""


def run_tools(
    registered: Sequence[AvailableFunction],
    *,
    attached: Collection[str] | None,
    mocked: Collection[str] = (),
    private: Collection[str] = (),
) -> RunTools:
    """What a run may call of its `registered` functions, its mocks and the built-in tools, by full name.

    `attached` restricts mocks and built-in tools; None means all. A mock replaces a built-in tool, and reveals no
    private function.
    """
    allowed = BUILT_IN_TOOLS if attached is None else BUILT_IN_TOOLS.intersection(attached)
    names = set(mocked) if attached is None else set(mocked).intersection(attached)
    names.difference_update(private, (function.full_name for function in registered))
    functions = tuple(registered)
    if names:
        mocks = (_mock(name) for name in names)
        functions = tuple(sorted((*functions, *mocks), key=lambda function: function.tool.name))
    return RunTools(functions, allowed - set(mocked))


_ANY_OBJECT: dict[str, JsonValue] = {"type": "object", "properties": {}}


def _mock(full_name: str) -> AvailableFunction:
    """A function that exists only as a mock."""
    service, _, function = full_name.partition("_")
    built_in = built_in_tools((full_name,))
    return AvailableFunction(
        service=service,
        name=function,
        tool=built_in[0] if built_in else Tool(tool_name(service, function), "", _ANY_OBJECT),
        max_attempts=1,
        timeout_ms=DEFAULT_TIMEOUT_MS,
        deadline_ms=DEFAULT_DEADLINE_MS,
        heartbeats=True,
    )


@dataclass(frozen=True, slots=True)
class ToolSelection:
    """The functions of one model request."""

    functions: tuple[AvailableFunction, ...]
    searchable: bool = False
    """Whether there are further functions, which the model can search."""
    names: tuple[str, ...] | None = None
    """The list to store with the reply; None if it is unchanged."""


class ToolSelector:
    """Selects the functions of a run's model requests by its transcript."""

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._words: list[tuple[int, str]] = []
        self._found: list[str] = []

    def add(self, entry: TranscriptEntry) -> None:
        """Add the next entry, in the order of keys."""
        match entry.type:
            case MessageType.HUMAN:
                self._words.append((entry.key, str(entry.data["message"])))
            case MessageType.AGENT:
                seen = last_seen_key(entry.data)
                self._words = [(key, text) for key, text in self._words if key > seen]
                names = selected_tool_names(entry.data)
                if names is not None:
                    self._names = names
                    self._found = []
            case MessageType.INVOCATION_RESULT if entry.data["toolName"] == SEARCH_TOOL:
                self._found += _names_in(str(entry.data["result"]))
            case _:
                pass

    def select(self, functions: Sequence[AvailableFunction]) -> ToolSelection:
        """Select the functions of the next request from those that the run may call, ordered by name."""
        fits = len(functions) <= MAX_TOOLS and _size(functions) <= MAX_TOOL_CHARACTERS
        if fits and not self._names:
            return ToolSelection(tuple(functions))
        known = {function.tool.name: function for function in functions}
        names = (*self._names, *self._added(functions, known))
        shown = [known[name] for name in names if name in known]
        if fits:
            listed = set(names)
            shown += [function for function in functions if function.tool.name not in listed]
        return ToolSelection(
            tuple(shown), searchable=True, names=names if names != self._names else None
        )

    def _added(
        self, functions: Sequence[AvailableFunction], known: Mapping[str, AvailableFunction]
    ) -> list[str]:
        query = "\n".join(text for _, text in self._words)
        if not self._names:
            return sorted(_best(query, functions))
        selected = dict.fromkeys(self._names)
        candidates = [name for name in self._found if name in known]
        if query:
            candidates += _matching(query, [f for f in functions if f.tool.name not in selected])
        fresh = [name for name in dict.fromkeys(candidates) if name not in selected]
        return fresh[: max(0, MAX_FOUND_TOOLS - len(selected))]


def request_tools(
    selection: ToolSelection,
    built_in: Collection[str],
    *,
    result_input: Mapping[str, JsonValue],
    wants_schema: bool,
    reasons: bool,
) -> tuple[Tool, ...]:
    """The tools of a model request, in a fixed order: functions, built-in tools, the tools that end or steer a turn.

    `result_input`: the schema of the result tool's input. `reasons`: each function asks for the reason of its call.
    """
    functions = (function.tool for function in selection.functions)
    return (
        *(with_reason_parameter(tool) if reasons else tool for tool in functions),
        *built_in_tools(built_in),
        *own_tools(result_input, wants_schema=wants_schema, searchable=selection.searchable),
    )


def search_answer(call: ToolCall, functions: Sequence[AvailableFunction]) -> ToolResult:
    """Answer the model's search: names, descriptions and schemas of the matching functions, best first.

    Schemas that would make the answer longer than the limit of a result are omitted.
    """
    values: Mapping[str, JsonValue] = call.input if isinstance(call.input, dict) else {}
    query, limit = values.get("query"), values.get("limit", _DEFAULT_FOUND)
    if not isinstance(query, str) or type(limit) is not int or not 1 <= limit <= MAX_FOUND:
        problem = f"query must be a string, limit a whole number from 1 to {MAX_FOUND}."
        return ToolResult(call.id, call.name, problem, is_error=True)
    tools = [function.tool for function in functions]
    ranked = rank_tools(query[:_MAX_QUERY_CHARACTERS], tools)
    found = [tool for score, tool in ranked if score > 0][:limit]
    if not found:
        return ToolResult(call.id, call.name, f"No function fits {query[:200]!r}. Try other words.")
    return ToolResult(call.id, call.name, _listing(found))


def _listing(tools: Sequence[Tool]) -> str:
    """Name and beginning of the description of each, and the schemas that fit."""
    listed: list[dict[str, JsonValue]] = [
        {"name": tool.name, "description": tool.description[:_MAX_DESCRIPTION]} for tool in tools
    ]
    room = INLINE_RESULT_CHARACTERS - len(_json(listed))
    for entry, tool in zip(listed, tools, strict=True):
        schema = dict(tool.schema)
        size = len(_json({"schema": schema}))
        if size <= room:
            entry["schema"] = schema
            room -= size
    return _json(listed)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _names_in(answer: str) -> Iterator[str]:
    """Names in a search result; none if the search was refused."""
    try:
        found = json.loads(answer)
    except ValueError:
        return
    if isinstance(found, list):
        yield from (str(item["name"]) for item in found if isinstance(item, dict))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - our own JSON


def _best(query: str, functions: Sequence[AvailableFunction]) -> Iterator[str]:
    """The best matches within the limit, and at least the best one."""
    sizes = {function.tool.name: function.characters for function in functions}
    count = room = 0
    for _, tool in rank_tools(query, [function.tool for function in functions]):
        size = sizes[tool.name]
        if count and (count >= MAX_TOOLS or room + size > MAX_TOOL_CHARACTERS):
            continue
        count, room = count + 1, room + size
        yield tool.name


def _matching(query: str, functions: Sequence[AvailableFunction]) -> list[str]:
    ranked = rank_tools(query, [function.tool for function in functions])
    return [tool.name for score, tool in ranked if score > 0][:_PER_MESSAGE]


def _size(functions: Sequence[AvailableFunction]) -> int:
    return sum(function.characters for function in functions)
