"""A scripted model that keeps a ledger: one line per time it was asked, as a provider's bill would."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from orchestrator.llm.messages import AssistantTurn, ModelRequest, UserTurn
from workers.models.scripted.script import Call, Step

LEDGER = "PERDURE_TEST_LEDGER"


def billed(request: ModelRequest) -> Step:
    """The prompt is `{"steps": n, "delayMs": d, "run": name}`: n calls of `work`, one after the other, then the end.

    `function` names another one than `e2e_work`.
    """
    step = sum(isinstance(turn, AssistantTurn) for turn in request.turns)
    first = request.turns[0]
    assert isinstance(first, UserTurn)
    plan = json.loads(first.texts[0])
    line = {"run": plan["run"], "step": step, "attempt": request.attempt, "at": time.time_ns()}
    with Path(os.environ[LEDGER]).open("a") as ledger:
        ledger.write(json.dumps(line) + "\n")
    delay = float(plan.get("delayMs", 0))
    if step >= plan["steps"]:
        return Step(text=f"{step} steps", delay_ms=delay)
    call = Call(function=plan.get("function", "e2e_work"), input={"run": plan["run"], "step": step})
    return Step(calls=[call], delay_ms=delay)
