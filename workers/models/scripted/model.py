"""A model that is a Python function: for tests, demos, and use without a key. Its replies say that it is scripted.

A policy is a callable `policy(request: ModelRequest) -> Step`, called once per attempt of a step. It must be quick and
decide by the request alone, since a step may be retried on another machine. Built in are `inline` and `analyst`;
the setting `scripted_policies` names others as `name=module:function`.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Mapping
from typing import Any, cast

from pydantic import ValidationError
from typing_extensions import override

from orchestrator.llm.messages import (
    ErrorAction,
    Model,
    ModelError,
    ModelRequest,
    ModelResponse,
    StopReason,
    ToolCall,
    Usage,
    UserTurn,
)
from orchestrator.llm.model_names import parse_policies
from orchestrator.llm.providers import SCRIPTED
from orchestrator.settings import Settings
from workers.models.errors import action_for_status
from workers.models.scripted.script import Step, StepError
from workers.models.scripted.token_counts import TokenEstimator, written

Policy = Callable[[ModelRequest], Step]

BUILT_IN = {
    "inline": "workers.models.scripted.script:inline",
    "analyst": "workers.models.analyst.policy:analyst",
}

_SIGN_OF_LIFE_SECONDS = 1.0
_CHARACTERS_PER_TOKEN = 4


class ScriptedModel(Model):
    """A model whose replies come from a policy.

    Ids of calls are `call_<step>_<index>`; usage is the characters of system prompt and turns, and of the answer,
    over four. Both are the same each time.
    """

    def __init__(self, name: str, policy: Policy) -> None:
        self._name = name
        self._policy = policy
        self._token_estimator = TokenEstimator()

    @override
    async def generate(
        self, request: ModelRequest, on_progress: Callable[[], None]
    ) -> ModelResponse:
        step = self._decide(request)
        await _wait(step.delay_ms / 1000, on_progress)
        if step.error is not None and (not step.actions or request.attempt <= step.error.times):
            raise _error(step.error)
        number = sum(not isinstance(turn, UserTurn) for turn in request.turns)
        calls = _calls(step, request, number)
        text = step.text or ""
        return ModelResponse(
            text=text,
            stop=StopReason.CALLS if calls else StopReason.END,
            calls=calls,
            usage=Usage(
                input_tokens=_tokens(
                    len(request.system) + self._token_estimator.characters(request.turns)
                ),
                output_tokens=_tokens(len(text) + sum(map(written, calls))),
            ),
            model=f"{SCRIPTED.name}/{self._name}",
            provider=SCRIPTED.name,
        )

    @override
    async def summarize(self, text: str, limit: int) -> ModelResponse:
        summary = _summary(text, limit)
        return ModelResponse(
            text=summary,
            stop=StopReason.END,
            usage=Usage(input_tokens=_tokens(len(text)), output_tokens=_tokens(len(summary))),
            model=f"{SCRIPTED.name}/{self._name}",
            provider=SCRIPTED.name,
        )

    @override
    async def name(self, prompt: str) -> None:
        """None: the run keeps the first words of its prompt as its name."""

    def _decide(self, request: ModelRequest) -> Step:
        try:
            return Step.model_validate(self._policy(request))
        except ModelError:
            raise
        except ValidationError as error:
            problem = f"returned no step: {error.errors(include_url=False)[0]['msg']}"
        except Exception as error:  # noqa: BLE001 - a policy is a user's code and may raise anything
            problem = f"raised {type(error).__name__}: {error}"
        raise _failure(f"the policy {self._name!r} {problem}")


class ScriptedModels:
    """The scripted models of a process."""

    def __init__(self, policies: Mapping[str, str]) -> None:
        self._policies = policies

    def model(self, model: str) -> Model:
        """The model of this policy. Raises `ModelError` (fail) if it cannot be loaded."""
        return ScriptedModel(model, load_policy(model, self._policies))

    async def aclose(self) -> None:
        """There is nothing to close."""


def open_scripted(settings: Settings) -> ScriptedModels:
    """The scripted models of a process. Raises `ValueError` for an invalid setting `scripted_policies`."""
    return ScriptedModels(parse_policies(settings.scripted_policies))


def load_policy(name: str, further: Mapping[str, str]) -> Policy:
    """The policy of this name; `further` maps names to `module:function`.

    Raises `ModelError` (fail) when there is none, or when it cannot be imported.
    """
    target = {**further, **BUILT_IN}.get(name)
    if target is None:
        known = ", ".join((*BUILT_IN, *further))
        raise _failure(f"there is no policy {name!r}; known are {known}")
    module, _, function = target.partition(":")
    try:
        policy: Any = getattr(importlib.import_module(module), function)
    except Exception as error:  # importing runs a user's code, which may raise anything
        problem = f"the policy {name!r} cannot be loaded from {target}: {error}"
        raise _failure(problem) from error
    if not callable(policy):
        raise _failure(f"the policy {name!r} is not a function: {target}")
    return cast(Policy, policy)


async def _wait(seconds: float, on_progress: Callable[[], None]) -> None:
    if seconds > 0:  # without a wait there is no sign to give: each costs the server a write
        on_progress()
    while seconds > 0:
        await asyncio.sleep(min(seconds, _SIGN_OF_LIFE_SECONDS))
        seconds -= _SIGN_OF_LIFE_SECONDS
        on_progress()


def _error(error: StepError) -> ModelError:
    action = action_for_status(error.status)
    return ModelError(
        f"Scripted model: scripted to fail with status {error.status}",
        action=action,
        status=error.status,
        retry_after=error.retry_after if action is ErrorAction.RETRY else None,
    )


def _calls(step: Step, request: ModelRequest, number: int) -> tuple[ToolCall, ...]:
    if "result" in step.actions:
        if not request.result_tool:
            raise _failure(
                f"step {number + 1} gives a result, but this run asks for none; give a text"
            )
        return (ToolCall(f"call_{number}_0", request.result_tool, {"result": step.result}),)
    available = [tool.name for tool in request.tools]
    for call in step.calls or ():
        if call.function not in available:
            listed = ", ".join(available) or "nothing"
            raise _failure(
                f"step {number + 1} calls {call.function!r}, which is not offered; offered: {listed}"
            )
    return tuple(
        ToolCall(f"call_{number}_{index}", call.function, call.input)
        for index, call in enumerate(step.calls or ())
    )


def _tokens(characters: int) -> int:
    return characters // _CHARACTERS_PER_TOKEN


def _summary(text: str, limit: int) -> str:
    note = f"[scripted summary: {len(text)} characters in {text.count(chr(10)) + 1} line(s); head and tail follow]"
    room = max(0, limit - len(note) - len("\n\n…\n"))
    head, tail = room - room // 3, room // 3
    if len(text) <= room:
        return f"{note}\n{text}"
    return f"{note}\n{text[:head]}\n…\n{text[len(text) - tail :]}"


def _failure(reason: str) -> ModelError:
    return ModelError(f"Scripted model: {reason}", action=ErrorAction.FAIL)
