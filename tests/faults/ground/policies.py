"""A scripted model that keeps a ledger: a line per time it was asked, as a provider's bill would have."""

from __future__ import annotations

import json

from orchestrator.llm.messages import AssistantTurn, ModelRequest, UserTurn
from tests.faults.ground.diary import LEDGER, append
from workers.models.scripted.script import Call, Step

RESULT = "all {steps} steps done"


def plan(request: ModelRequest) -> Step:
    """The prompt is `{"run", "steps", "delayMs", "calls", "service", "function", "input"}`.

    So many steps with so many calls of the function each, one step after the other, then the end.
    """
    first = request.turns[0]
    assert isinstance(first, UserTurn)
    wanted = json.loads(first.texts[0])
    step = 1 + sum(isinstance(turn, AssistantTurn) for turn in request.turns)
    append(LEDGER, kind="asked", run=wanted["run"], step=step, attempt=request.attempt)
    delay = float(wanted.get("delayMs", 20))
    if step > wanted["steps"]:
        return Step(text=RESULT.format(steps=wanted["steps"]), delay_ms=delay)
    given = {"run": wanted["run"], "step": step, **wanted.get("input", {})}
    service, function = wanted.get("service", "faults"), wanted.get("function", "work")
    call = Call(function=f"{service}_{function}", input=given)
    return Step(calls=[call] * wanted.get("calls", 1), delay_ms=delay)
