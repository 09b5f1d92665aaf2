"""Policies as a user would write them, good and bad, found by name in the settings."""

from __future__ import annotations

from typing import Any

from orchestrator.llm.messages import ModelRequest
from workers.models.scripted.script import Call, Step

NOT_A_FUNCTION = "policy"


def polite(request: ModelRequest) -> Step:
    """Calls the first function it is offered, then thanks."""
    if len(request.turns) == 1:
        return Step(calls=[Call(function=request.tools[0].name)])
    return Step(text="Thank you.")


def broken(request: ModelRequest) -> Step:
    raise KeyError("nothing here")


def vague(request: ModelRequest) -> Any:
    return {"txt": "?"}
