"""The product's own instructions and tools for models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pydantic import JsonValue

from orchestrator.llm.messages import Tool
from perdure.contract import INLINE_RESULT_CHARACTERS

OWN_SERVICE = "perdure"
"""Reserved: no service of this name can be registered, so the names of these tools are unique."""
RESULT_TOOL = f"{OWN_SERVICE}_return_result"
GIVE_UP_TOOL = f"{OWN_SERVICE}_give_up"
READ_TOOL = f"{OWN_SERVICE}_read_result"
SEARCH_TOOL = f"{OWN_SERVICE}_search_functions"
TIME_TOOL = f"{OWN_SERVICE}_current_time"
CALCULATE_TOOL = f"{OWN_SERVICE}_calculate"
OWN_TOOLS = frozenset(
    {RESULT_TOOL, GIVE_UP_TOOL, READ_TOOL, SEARCH_TOOL, TIME_TOOL, CALCULATE_TOOL}
)
"""Reserved too: `perdure_return` could have a function `result`."""
REASON_PARAMETER = f"{OWN_SERVICE}_reasoning"
"""The property of a function's input for the reason of a call. It is removed before the function runs."""
MAX_FOUND = 10
"""Maximum functions per search."""
MAX_CONTEXT_CHARACTERS = 4_096
"""Characters of an operator's note on a cluster or a function that the model reads."""

_INSTRUCTIONS = """\
You work on a task by yourself. Use the functions you are given; several calls in one reply run at the same time.
A function that fails answers with an error: read it, then correct the call, try another way, or do without.
Never invent data that a function could have given you.
A result that is too long is shown to you in part or as a summary; {read} reads the original piece by piece."""

_WITH_SCHEMA = """\
End by calling {result} exactly once, alone, with a result that satisfies its schema.
If the task cannot be done so, call {give_up} and say why; never make up a result."""

_WITHOUT_SCHEMA = """\
When the task is done answer in plain text; if the natural answer is structured data, call {result} with it instead."""


_REASON_INSTRUCTION = "Why you call this function now, in a sentence."

_SEARCH = Tool(
    SEARCH_TOOL,
    "Find functions that you were not given: there are more than could be listed. What is found can be called.",
    {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "What the function should do, in words."},
            "limit": {"type": "integer", "minimum": 1, "maximum": MAX_FOUND, "default": 5},
        },
        "required": ["query"],
        "additionalProperties": False,
    },
)


def system_prompt(
    user_prompt: str | None, *, wants_schema: bool, cluster_context: str | None = None
) -> str:
    """The product's instructions, the cluster's context, then the run's own system prompt.

    It is the same for every step of a run until the context is edited, so that the prompt cache holds.
    """
    parts = [_INSTRUCTIONS, _WITH_SCHEMA if wants_schema else _WITHOUT_SCHEMA]
    text = "\n".join(parts).format(read=READ_TOOL, result=RESULT_TOOL, give_up=GIVE_UP_TOOL)
    context = (cluster_context or "")[:MAX_CONTEXT_CHARACTERS]
    return "\n\n".join(filter(None, [text, context, user_prompt]))


def with_function_note(description: str, note: str | None) -> str:
    """A function's description with the operator's note."""
    return "\n".join(filter(None, [description, (note or "")[:MAX_CONTEXT_CHARACTERS]]))


def has_parameter(tool: Tool, name: str) -> bool:
    """Whether the tool's own schema names this parameter."""
    properties = tool.schema.get("properties")
    return isinstance(properties, dict) and name in properties


def with_reason_parameter(tool: Tool) -> Tool:
    """The tool with a first parameter for the reason of a call."""
    properties = tool.schema.get("properties", {})
    required = tool.schema.get("required", [])
    if has_parameter(
        tool, REASON_PARAMETER
    ):  # the function's own parameter: it receives the model's value
        return tool
    if not isinstance(properties, dict) or not isinstance(required, list):
        return tool
    reasoning: dict[str, JsonValue] = {"type": "string", "description": _REASON_INSTRUCTION}
    return replace(
        tool,
        schema={
            **tool.schema,
            "properties": {REASON_PARAMETER: reasoning, **properties},
            "required": [REASON_PARAMETER, *required],
        },
    )


def own_tools(
    result_input: Mapping[str, JsonValue], *, wants_schema: bool, searchable: bool = False
) -> tuple[Tool, ...]:
    """The tools of every run. `result_input` is the schema of the result tool's input object.

    `searchable`: there are more functions than the model receives.
    """
    tools = [
        Tool(
            READ_TOOL,
            "Read a part of a call's result that was too long to be shown whole.",
            {
                "type": "object",
                "properties": {
                    "callId": {
                        "type": "string",
                        "description": "As given with the shortened result.",
                    },
                    "offset": {"type": "integer", "minimum": 0, "default": 0},
                    "length": {
                        "type": "integer",
                        "minimum": 1,
                        "maximum": INLINE_RESULT_CHARACTERS,
                        "default": INLINE_RESULT_CHARACTERS,
                        "description": "Characters to read.",
                    },
                },
                "required": ["callId"],
                "additionalProperties": False,
            },
        ),
        *([_SEARCH] if searchable else []),
        Tool(RESULT_TOOL, "Give the final result of the task.", result_input),
    ]
    if wants_schema:
        tools.append(
            Tool(
                GIVE_UP_TOOL,
                "End the task without a result, because it cannot be done.",
                {
                    "type": "object",
                    "properties": {"reason": {"type": "string"}},
                    "required": ["reason"],
                    "additionalProperties": False,
                },
            )
        )
    return tuple(tools)
