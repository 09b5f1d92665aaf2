"""Outcomes of a lease, a result, a heartbeat: decided by the store, executed by the caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from pydantic import JsonValue

from orchestrator.errors import NotFoundError, SupersededError
from orchestrator.store.database.json_columns import to_json, to_storable_text
from orchestrator.store.records import CallRecord
from orchestrator.workflows.interface import CallOutcome, RunRef
from perdure.contract import CallStatus, FunctionCall, ResultType


@dataclass(frozen=True, slots=True)
class Leased:
    """The call is leased to this worker. `limit`: calls of its function that may run at the same time."""

    call: FunctionCall
    limit: int | None


@dataclass(frozen=True, slots=True)
class AtCapacity:
    """The call waits: its function is at its limit, or (no limit) this very call runs without an activity.

    `seconds`: that long, because its function is in a crash loop.
    """

    limit: int | None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Completed:
    """The call has its result, or waits for an approval: complete its activity with the outcome."""

    outcome: CallOutcome


@dataclass(frozen=True, slots=True)
class Retry:
    """The attempt failed and another is allowed: fail the activity, with a retry after that many seconds."""

    reason: str
    delay: float


@dataclass(frozen=True, slots=True)
class Discarded:
    """The call is no longer needed."""

    reason: str


@dataclass(frozen=True, slots=True)
class ResultRecorded:
    """What the sender of a result must do next: the activity's token, and what to report to Temporal."""

    run: RunRef
    call: CallRecord
    token: bytes
    attempt_outcome: Completed | Retry


def require_lease(
    call: CallRecord | None, call_id: str, machine_id: str, attempt: int | None
) -> tuple[CallRecord, bytes]:
    """The call and its activity's token, if this worker holds this lease of it now."""
    if call is None:
        raise NotFoundError(f"There is no call {call_id!r}.")
    if call.result_type is not None:
        raise SupersededError("The call has its result already; this one was not taken.")
    is_held = call.status == CallStatus.RUNNING.value and call.machine_id == machine_id
    if not is_held or call.task_token is None or attempt not in {None, call.handouts}:
        raise SupersededError(
            "The call is not this machine's (any more); the result was not taken."
        )
    return call, call.task_token


def is_cancelled_for(call: CallRecord, machine_id: str, attempt: int | None) -> bool:
    """Whether the call was cancelled while this worker held this lease of it."""
    return call.cancelled and call.machine_id == machine_id and attempt in {None, call.handouts}


def to_call_outcome(call: CallRecord) -> CallOutcome:
    return CallOutcome(
        call.id,
        call.oversized and not call.shown,
        interrupted=call.status == CallStatus.INTERRUPTED.value,
    )


class ResultContent(NamedTuple):
    """A result as it is stored: JSON text, or the characters of a plain string."""

    text: str
    is_text: bool


def to_result_content(kind: ResultType, result: JsonValue) -> ResultContent:
    """What the model reads of a result: the characters of a string, else the JSON text."""
    if isinstance(result, str):
        return ResultContent(to_storable_text(result), is_text=True)
    if kind is ResultType.REJECTION and isinstance(result, dict) and "message" in result:
        name, message = result.get("name"), result["message"]
        return ResultContent(
            to_storable_text(f"{name}: {message}" if name else str(message)), is_text=True
        )
    return ResultContent(to_json(result), is_text=False)
