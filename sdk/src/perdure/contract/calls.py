"""Calls: for function workers, for clients, and direct calls."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, JsonValue, StrictInt, StringConstraints

from perdure.contract.base import Reply, Request
from perdure.contract.blobs import Blob
from perdure.contract.limits import MAX_REASON, FunctionName, ServiceName
from perdure.contract.statuses import CallStatus, ResultType


class FunctionCall(Reply):
    """A call leased to a machine, which must post its result before the timeout."""

    id: str
    service: str
    function: str
    input: JsonValue
    run_id: str
    run_context: dict[str, JsonValue] | None = None
    auth_context: dict[str, JsonValue] | None = None
    approved: bool = False
    attempt: int = Field(description="Number of this lease; send it with the result.")
    timeout_seconds: float
    handler: bool = Field(
        default=False, description="The function is a handler, and `input` a status change."
    )


class PostResult(Request):
    """What a function returned (resolution) or raised (rejection). A missing `result` counts as null."""

    result: JsonValue = None
    result_type: ResultType
    attempt: StrictInt | None = Field(default=None, ge=0, le=2**31 - 1)
    meta: dict[str, JsonValue] = Field(default_factory=dict)


class Heartbeat(Request):
    attempt: StrictInt | None = Field(default=None, ge=0, le=2**31 - 1)


class HeartbeatReply(Reply):
    cancelled: bool = Field(description="True: the call was cancelled; stop working on it.")


class CreateCall(Request):
    """Call a function without a model. Private functions and handlers can be called too."""

    service: ServiceName
    function: FunctionName
    input: dict[str, JsonValue] = Field(
        default_factory=dict, description="Validated against the function's schema."
    )
    context: dict[str, JsonValue] | None = Field(
        default=None, description="Passed to the function in addition to its input."
    )


class CancelCall(Request):
    """Cancel a call. The model receives a rejection and the run continues; the function is notified in the response to its next heartbeat."""

    reason: Annotated[str, StringConstraints(max_length=MAX_REASON)] | None = None


class CallApproval(Reply):
    """The approval of a call: requested, and decided or not."""

    message: str | None = None
    requested_at: datetime
    expires_at: datetime | None = None
    approved: bool | None = Field(default=None, description="Null until it is decided.")
    decided_at: datetime | None = None
    decided_by: str | None = None
    reason: str | None = None
    original_input: JsonValue = Field(
        default=None,
        description="The input before it was edited at the approval; null if it was not.",
    )


class Call(Reply):
    """The current state of a call. `result` is also null if it is longer than 1,000,000 characters: see `resultSize`."""

    id: str
    run_id: str
    service: str
    function: str
    status: CallStatus
    input: JsonValue
    reasoning: str | None = Field(default=None, description="Why the model made the call.")
    result: JsonValue = None
    result_type: ResultType | None = None
    result_size: int | None = Field(
        default=None, description="Characters of the complete result, which `GET …/result` returns."
    )
    attempts: int = Field(default=0, description="Number of attempts that a function worker began.")
    machine_id: str | None = None
    approval: CallApproval | None = None
    cached_from: str | None = Field(default=None, description="The call whose result was reused.")
    blobs: list[Blob] = Field(default_factory=list[Blob])
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None


class CallPage(Reply):
    """Calls of a run."""

    items: list[Call]
    next_cursor: str | None = None
