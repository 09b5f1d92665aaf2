"""The steps of a scripted model, and the policy `scripted/inline`, whose script is the prompt itself.

A script is a JSON list. Each step does one of four things::

    {"calls": [{"function": "sales_query_orders", "input": {"sql": "…"}}]}   call functions, in parallel
    {"text": "…"}                                                            say something
    {"result": …}                                                            give the run's result
    {"error": {"status": 429, "retryAfter": 2, "times": 1}}                  fail as a provider would

The first three take `delayMs` and `error` too: the error is raised on the first `times` tries of the step, then
the step goes on. An error alone is raised on every try. Follow-up messages that are JSON lists add their steps
to the end; other messages are not scripts and change nothing.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Annotated, Any, NoReturn, Self, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from orchestrator.llm.messages import AssistantTurn, ErrorAction, ModelError, ModelRequest, UserTurn

MAX_DELAY_MS = 3_600_000
MAX_STEPS = 10_000
MAX_CALLS = 128
_CACHED_SCRIPTS = 64

_ACTIONS = ("calls", "text", "result")


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, alias_generator=to_camel, populate_by_name=True
    )


class Call(_Part):
    """A function to call, by the name under which the model is offered it."""

    function: str
    input: JsonValue = Field(default_factory=dict[str, JsonValue])


class StepError(_Part):
    """An error of a provider: `status` decides the action (`action_for_status`)."""

    status: Annotated[int, Field(ge=400, le=599)]
    retry_after: Annotated[float, Field(ge=0, le=86_400)] | None = None
    times: Annotated[int, Field(ge=1)] = 1


class Step(_Part):
    """One reply of a scripted model. Exactly one of `calls`, `text` and `result`, or `error` alone."""

    calls: Annotated[list[Call], Field(min_length=1, max_length=MAX_CALLS)] | None = None
    text: str | None = None
    result: JsonValue = None
    delay_ms: Annotated[float, Field(ge=0, le=MAX_DELAY_MS)] = 0
    error: StepError | None = None

    @model_validator(mode="after")
    def _does_one_thing(self) -> Self:
        given = self.actions
        if len(given) > 1:
            raise ValueError(f"has {' and '.join(given)}, but a step does one thing")
        if not given and self.error is None:
            raise ValueError("has none of calls, text, result and error")
        if any(name != "result" and getattr(self, name) is None for name in given):
            raise ValueError(f"{given[0]} may not be null")
        return self

    @property
    def actions(self) -> list[str]:
        """Which of calls, text and result were given; a result may be null."""
        return [name for name in _ACTIONS if name in self.model_fields_set]


_STEPS = TypeAdapter(list[Step])


def inline(request: ModelRequest) -> Step:
    """The policy `scripted/inline`: the step of the script that has this step's number.

    Raises `ModelError` (fail) when the prompt is not a script or the script is over.
    """
    steps, skipped = _read(request)
    number = sum(isinstance(turn, AssistantTurn) for turn in request.turns)
    if number < len(steps):
        return steps[number]
    ignored = f"; {skipped} later message(s) were no JSON list and were skipped" if skipped else ""
    raise _refusal(
        f"the script has {len(steps)} step(s), and step {number + 1} was asked for{ignored}"
    )


def _read(request: ModelRequest) -> tuple[list[Step], int]:
    texts = [text for turn in request.turns if isinstance(turn, UserTurn) for text in turn.texts]
    if not texts:
        raise _refusal("there is no prompt to read a script from")
    steps = list(_parse(texts[0]))
    skipped = 0
    for text in texts[1:]:
        if _is_list(text):
            steps += _parse(text, already=len(steps))
        else:
            skipped += 1
    return steps, skipped


@lru_cache(maxsize=_CACHED_SCRIPTS)
def _parse(text: str, *, already: int = 0) -> tuple[Step, ...]:
    """The parsed steps of a script. They are cached: a run of a thousand steps reads its script a thousand times."""
    try:
        parsed = _load(text)
    except (ValueError, RecursionError) as error:
        raise _refusal(
            f"the prompt is not a script, because it is not JSON: {_cause(error)}"
        ) from error
    if not isinstance(parsed, list):
        raise _refusal("the prompt is not a script: a script is a JSON list of steps")
    if len(cast(list[object], parsed)) + already > MAX_STEPS:
        raise _refusal(f"the script is longer than {MAX_STEPS} steps")
    try:
        return tuple(_STEPS.validate_python(parsed))
    except ValidationError as error:
        raise _refusal(_problem(error, already)) from error


@lru_cache(maxsize=_CACHED_SCRIPTS)
def _is_list(text: str) -> bool:
    try:
        return isinstance(_load(text), list)
    except (ValueError, RecursionError):
        return False


def _load(text: str) -> object:
    return cast(object, json.loads(text, parse_constant=_no_constant))


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _cause(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _problem(error: ValidationError, already: int) -> str:
    """Describe the first problem: the step, the field, the error."""
    first: Any = error.errors(include_url=False, include_input=False, include_context=False)[0]
    index, *path = first["loc"]
    where = ".".join(str(part) for part in path)
    problem = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        problem = "is not a field of a script"
    return f"step {already + index + 1} of the script: {f'{where}: ' if where else ''}{problem}"


def _refusal(reason: str) -> ModelError:
    return ModelError(f"Scripted model: {reason}", action=ErrorAction.FAIL)
