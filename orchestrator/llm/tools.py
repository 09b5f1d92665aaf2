"""The functions that a run may call, as tools of its model, and how their calls are retried."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from orchestrator.llm.messages import Tool

DEFAULT_TIMEOUT_MS = 300_000
DEFAULT_DEADLINE_MS = 24 * 3_600_000
MAX_TOOL_NAME = 64
"""Characters of a tool's name that every provider accepts."""


def tool_name(service: str, function: str) -> str:
    """`service_function`; beyond 64 characters truncated, with a stable hash at the end."""
    name = f"{service}_{function}"
    if len(name) <= MAX_TOOL_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:10]
    return f"{name[: MAX_TOOL_NAME - 11]}_{digest}"


@dataclass(frozen=True, slots=True)
class AvailableFunction:
    """A function that a run may call, and the limits of its calls."""

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
    """Its `FunctionConfig` as JSON. A call keeps the one of its creation."""
    characters: int = 0
    """Approximate characters of the prompt that it takes."""

    @property
    def full_name(self) -> str:
        """`service_function`, not truncated: the key of mocks."""
        return f"{self.service}_{self.name}"
