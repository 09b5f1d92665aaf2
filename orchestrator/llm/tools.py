"""The functions that a run may call, as tools of its model."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.llm.messages import Tool


@dataclass(frozen=True, slots=True)
class AvailableFunction:
    """A function that a run may call, and how its calls are tried."""

    service: str
    name: str
    tool: Tool
    max_attempts: int
    timeout_ms: int
    deadline_ms: int
    heartbeats: bool
    fan_out: int | None = None
    """Calls of it that one reply may make."""
    config: str = "{}"
    """Its `FunctionConfig`, as JSON: a call keeps the one it was made under."""
    characters: int = 0
    """About how much of the prompt it takes."""
