"""Words and tools of our own that a model is given beside the user's."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from orchestrator.conversation import Tool
from perdure.contract import INLINE_RESULT_CHARACTERS

OWN_SERVICE = "perdure"
"""Reserved: nobody can register a service of this name, so these tools collide with nothing."""
RESULT_TOOL = f"{OWN_SERVICE}_return_result"
GIVE_UP_TOOL = f"{OWN_SERVICE}_give_up"
READ_TOOL = f"{OWN_SERVICE}_read_result"
OWN_TOOLS = frozenset({RESULT_TOOL, GIVE_UP_TOOL, READ_TOOL})
"""Reserved too: `perdure_return` could have a function `result`."""

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


def system_prompt(user_prompt: str | None, *, wants_schema: bool) -> str:
    """Our instructions, then the run's own. The same for every step of a run, so that the prompt cache holds."""
    parts = [_INSTRUCTIONS, _WITH_SCHEMA if wants_schema else _WITHOUT_SCHEMA]
    text = "\n".join(parts).format(read=READ_TOOL, result=RESULT_TOOL, give_up=GIVE_UP_TOOL)
    return f"{text}\n\n{user_prompt}" if user_prompt else text


def own_tools(result_input: Mapping[str, JsonValue], *, wants_schema: bool) -> tuple[Tool, ...]:
    """The tools every run has. `result_input` is the schema of the result tool's input object."""
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
