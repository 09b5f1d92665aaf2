"""Requests to models and their responses, independent of any provider.

`workers/models/` converts these values to a provider's format and back; nothing else knows those formats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from pydantic import JsonValue


class StopReason(StrEnum):
    """Why the model stopped."""

    END = "end"
    CALLS = "calls"
    LENGTH = "length"
    """Cut at the output limit: the reply is incomplete."""
    PAUSE = "pause"
    """The provider must be called again with the reply so far."""
    REFUSAL = "refusal"
    CONTEXT = "context"
    """The conversation no longer fits the model's window."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function as the model sees it. `schema` is the JSON Schema of its input object."""

    name: str
    description: str
    schema: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call that the model requests. `id` is the provider's; results are matched by it."""

    id: str
    name: str
    input: JsonValue
    reasoning: str | None = None
    """The model's reason for the call, after it was removed from the input."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The text that the model receives for a call's result."""

    id: str
    name: str
    content: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one reply, as the provider counts them. `input_tokens` excludes cached ones."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ModelResponse:
    """One response of a model.

    `blocks` is the provider's own content, to be sent back to it verbatim (thinking signatures live there). Only the
    module of that provider reads it, and no other provider receives it.
    """

    text: str
    stop: StopReason
    calls: tuple[ToolCall, ...] = ()
    usage: Usage = field(default_factory=Usage)
    blocks: tuple[Mapping[str, JsonValue], ...] = ()
    model: str = ""
    detail: str = ""
    """The provider's text on a refusal, if it gives any."""
    provider: str = "anthropic"
    """The name of the provider whose `blocks` these are. Replies stored without it are Anthropic's."""


@dataclass(frozen=True, slots=True)
class UserTurn:
    """Input that the model has not received yet: the results of its calls, in the order of the calls, then texts."""

    results: tuple[ToolResult, ...] = ()
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AssistantTurn:
    """An earlier reply of the model."""

    reply: ModelResponse

    def blocks_of(self, provider: str) -> tuple[Mapping[str, JsonValue], ...]:
        """The reply's blocks if they are this provider's; else none, and the reply is sent as its text and calls."""
        return self.reply.blocks if self.reply.provider == provider else ()


Turn = UserTurn | AssistantTurn


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A request to a model. `turns` alternate, and begin and end with a `UserTurn`.

    `attempt` counts the attempts of this step from 1, so that a scripted error can be temporary.
    """

    model: str
    system: str
    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...] = ()
    result_tool: str = ""
    """Name of the tool among `tools` by which a final JSON result is given: `{"result": …}`. Without a result
    schema plain text is a final answer too."""
    max_output_tokens: int = 16_000
    attempt: int = 1


class Model(Protocol):
    """A provider's model. Raises `ModelError`, nothing else; is cancelled by cancelling the task."""

    async def generate(
        self, request: ModelRequest, on_progress: Callable[[], None]
    ) -> ModelResponse:
        """Answer the request; `on_progress` is called whenever the provider sends data."""
        ...

    async def summarize(self, text: str, limit: int) -> ModelResponse:
        """Summarize an oversized call result in about `limit` characters at most."""
        ...

    async def name(self, prompt: str) -> ModelResponse | None:
        """Name a run that begins with this prompt in at most ten words; None: use its first words."""
        ...


class ErrorAction(StrEnum):
    """The action after a failed model call."""

    RETRY = "retry"
    PAUSE = "pause"
    """A billing problem: retries fail until a person resolves it."""
    FAIL = "fail"


class ModelError(Exception):
    """A model call without a reply. `reason` is one sentence for people, without secrets."""

    def __init__(
        self,
        reason: str,
        *,
        action: ErrorAction,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.action = action
        self.status = status
        self.retry_after = retry_after
        """Seconds of the provider's `Retry-After`."""
