"""The scripted model of the benchmark: so many steps with a call each, then the answer.

The prompt names the function, how many calls to make, how long each result shall be and how long the model takes
each time:
`{"function": "bench_echo", "steps": 20, "size": 0, "delayMs": 0}`. A step costs the same however long the run is,
which a script in the prompt would not: it is read whole each time.
"""

from __future__ import annotations

import json
from typing import Any, cast

from orchestrator.llm.messages import ModelRequest, UserTurn
from workers.models.scripted.script import Call, Step


def calls(request: ModelRequest) -> Step:
    """The next step: a call of the function, or the answer when enough were made."""
    first = cast(UserTurn, request.turns[0])
    asked = cast(dict[str, Any], json.loads(first.texts[0]))
    delay_ms = asked.get("delayMs", 0)
    made = len(request.turns) // 2  # turns alternate, beginning and ending with a UserTurn
    if made >= asked["steps"]:
        return Step(text="done", delay_ms=delay_ms)
    argument = {"text": "x", "size": asked.get("size", 0)}
    return Step(calls=[Call(function=asked["function"], input=argument)], delay_ms=delay_ms)
