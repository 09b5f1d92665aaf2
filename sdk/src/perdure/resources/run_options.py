"""The options of a run, and the request made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict
from uuid import uuid4

from perdure.contract import (
    Budget,
    CreateRun,
    FunctionReference,
    RunConfigReference,
    RunOptions as StoredOptions,
    RunStatus,
)
from perdure.errors import InvalidRequestError
from perdure.functions.functions import StatusChangeHandler
from perdure.functions.references import AttachedFunction, full_name, to_attachment
from perdure.http.json_codec import as_json, build
from perdure.resources.results import JsonSchema

_MAX_KEY_LENGTH = 256


@dataclass(frozen=True, slots=True)
class Webhook:
    """A URL that receives status changes as signed requests; the cluster needs a webhook secret first.

    `statuses`: only changes to these; default: all.
    """

    url: str
    statuses: Sequence[RunStatus | str] | None = None


@dataclass(frozen=True, slots=True)
class Handler:
    """A handler that receives changes to these statuses only."""

    function: StatusChangeHandler[..., Any] | FunctionReference
    statuses: Sequence[RunStatus | str] | None = None


StatusChangeReceiver = StatusChangeHandler[..., Any] | FunctionReference | Handler | Webhook
"""The receivers of a run's status changes."""


class RunOptions(TypedDict, total=False):
    """The options of `create_run` besides the prompt and the result schema; all optional.

    - `functions`: the functions that the model may call; default: every function of the cluster that is not private.
    - `on_status_change`: the receiver of every change: a handler, `Handler(handler, statuses=[...])` for some of
      them, or `Webhook(url)`.
    - `metadata`: up to 64 pairs of strings, and `tags`: up to 32 words; both filter lists of runs.
    - `context`: JSON for functions and handlers, never for the model; at most 256 KiB.
    - `config`: the id of a run configuration, or a `RunConfigReference` for an older version; `input`: the values of its
      prompt's placeholders. The configuration takes precedence over the other options.
    - `deadline`: the run fails if it has not ended by then; a timedelta counts from now. `budget`: at a limit, the
      run pauses. `priority`: 1 (first) to 5 (last); default 3.
    - `test`: hidden from lists by default; `mocks`: the results of functions in a test run, by function; they make
      it one.
    - `system_prompt`, `name`, `model` (`provider/model`): default: the server's.
    - `interactive` (default True): follow-up messages are accepted.
    - `reasoning_traces` (default True): the model gives the reason for each call.
    - `call_summarization` (default True): long results of functions are summarized for the model.
    - `id`: your own id for the run; creating it again with the same options (a deadline as a datetime, then)
      returns the same run.
    - `idempotency_key`: the same, without choosing the id.
    """

    functions: Sequence[AttachedFunction] | None
    on_status_change: StatusChangeReceiver | None
    metadata: Mapping[str, str] | None
    tags: Sequence[str] | None
    context: Mapping[str, Any] | None
    config: str | RunConfigReference | None
    input: Mapping[str, Any] | None
    deadline: datetime | timedelta | None
    budget: Budget | None
    priority: int | None
    test: bool
    mocks: Mapping[AttachedFunction, Any] | None
    system_prompt: str | None
    name: str | None
    model: str | None
    interactive: bool
    reasoning_traces: bool
    call_summarization: bool
    id: str | None
    idempotency_key: str | None


def run_request(prompt: str | None, schema: JsonSchema | None, options: RunOptions) -> CreateRun:
    """The request. Raises `InvalidRequestError` that names the field."""
    functions, tags = options.get("functions"), options.get("tags")
    return build(
        CreateRun,
        {
            "initial_prompt": prompt,
            "result_schema": schema,
            "attached_functions": None
            if functions is None
            else list(map(to_attachment, functions)),
            "on_status_change": _target(options.get("on_status_change")),
            "context": as_json(options.get("context"), "context"),
            "config": _config(options.get("config"), options.get("input")),
            "deadline": _deadline(options.get("deadline")),
            "test": _test(options.get("test", False), options.get("mocks")),
            "tags": None if tags is None else list(tags),
            **{field: options.get(field) for field in _PASSED_ON},
        },
    )


def run_idempotency_key(options: RunOptions) -> str:
    """The idempotency key by which the server recognizes a repeated request. Raises `InvalidRequestError`."""
    return checked_key(options.get("idempotency_key") or options.get("id"))


def checked_key(key_given: str | None) -> str:
    """An idempotency key: the caller's own, or a new one. Raises `InvalidRequestError`."""
    key = key_given or uuid4().hex
    if len(key) > _MAX_KEY_LENGTH or not (key.isascii() and key.isprintable()):
        raise _unsendable(
            f"an idempotency key has 1 to {_MAX_KEY_LENGTH} printable ASCII characters."
        )
    return key


def _target(receiver: StatusChangeReceiver | None) -> dict[str, object] | None:
    target: dict[str, object] = {}
    match receiver:
        case None:
            return None
        case Webhook(url, statuses):
            target["webhook"] = {"url": url}
        case Handler(function, statuses):
            target["function"] = to_attachment(function)
        case _:
            target["function"], statuses = to_attachment(receiver), None
    if statuses is not None:
        target["statuses"] = list(statuses)
    return target


def _config(
    config: str | RunConfigReference | None, input_value: Mapping[str, Any] | None
) -> dict[str, object] | None:
    if config is None:
        if input_value is not None:
            raise _unsendable("`input` belongs to a run configuration; name it with `config`.")
        return None
    named: dict[str, object] = {"id": config}
    if isinstance(config, RunConfigReference):
        named = config.model_dump(exclude_unset=True)
    return named if input_value is None else {**named, "input": as_json(input_value, "input")}


def _deadline(deadline: datetime | timedelta | None) -> datetime | None:
    return datetime.now(UTC) + deadline if isinstance(deadline, timedelta) else deadline


def _test(test: bool, mocks: Mapping[AttachedFunction, Any] | None) -> dict[str, object] | None:
    if not test and mocks is None:
        return None
    answers = {
        full_name(function): {"output": as_json(output, "mock")}
        for function, output in (mocks or {}).items()
    }
    return {"enabled": True, "mocks": answers}


def _unsendable(why: str) -> InvalidRequestError:
    return InvalidRequestError(422, "invalid_request", f"The request was not sent: {why}")


_PASSED_ON = (
    *(name for name in StoredOptions.model_fields if name != "tags"),
    "name",
    "model",
    "id",
)
"""Options that go into the request unchanged."""
