"""A scripted model that answers every message with one call and then with the message's own words."""

from __future__ import annotations

from pydantic import JsonValue

from orchestrator.llm.messages import AssistantTurn, ModelRequest, UserTurn
from tests.faults.ground.diary import LEDGER, append
from workers.models.scripted.script import Call, Step


def talk(request: ModelRequest) -> Step:
    """Whatever was said last: first a call, then `talk: ` and what was said."""
    step = 1 + sum(isinstance(turn, AssistantTurn) for turn in request.turns)
    append(LEDGER, kind="asked", run="talk", step=step, attempt=request.attempt)
    last, before = request.turns[-1], request.turns[-3:-2]
    assert isinstance(last, UserTurn)
    if not last.results:
        given: dict[str, JsonValue] = {"run": "talk", "step": step, "milliseconds": 0}
        return Step(calls=[Call(function="faults_work", input=given)])
    (asked,) = before
    assert isinstance(asked, UserTurn)
    return Step(text=f"talk: {asked.texts[-1]}")
