"""Calls: as function workers see them, as callers look at them, and made directly, without a model."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, JsonValue, StrictInt, StringConstraints

from perdure.contract.base import Reply, Request
from perdure.contract.blobs import Blob
from perdure.contract.limits import MAX_REASON, FunctionName, ServiceName
from perdure.contract.statuses import CallStatus, ResultType


class FunctionCall(Reply):
    """A call handed to a machine, which must post its result before the timeout."""

    id: str
    service: str
    function: str
    input: JsonValue
    run_id: str
    run_context: dict[str, JsonValue] | None = None
    auth_context: dict[str, JsonValue] | None = None
    approved: bool = False
    attempt: int = Field(description="Number of this lease; send it back with the result.")
    timeout_seconds: float
    handler: bool = Field(
        default=False, description="The function is a handler, and `input` a status change."
    )


class PostResult(Request):
    """What a function returned (resolution) or raised (rejection). A missing `result` is a success too."""

    result: JsonValue = None
    result_type: ResultType
    attempt: StrictInt | None = Field(default=None, ge=0, le=2**31 - 1)
    meta: dict[str, JsonValue] = Field(default_factory=dict)


class Heartbeat(Request):
    attempt: StrictInt | None = Field(default=None, ge=0, le=2**31 - 1)


class HeartbeatReply(Reply):
    cancelled: bool = Field(description="True: stop working on the call; its result is not wanted.")


class CreateCall(Request):
    """Call a function without a model. Private functions and handlers can be called too."""

    service: ServiceName
    function: FunctionName
    input: dict[str, JsonValue] = Field(
        default_factory=dict, description="Checked against the function's schema."
    )
    context: dict[str, JsonValue] | None = Field(
        default=None, description="Passed to the function beside its input."
    )


class CancelCall(Request):
    """Cancel a call. The model receives a rejection and the run continues; the function learns of it by its next heartbeat."""

    reason: Annotated[str, StringConstraints(max_length=MAX_REASON)] | None = None


class CallApproval(Reply):
    """A person's word on a call: asked for, and given or not."""

    message: str | None = None
    requested_at: datetime
    expires_at: datetime | None = None
    approved: bool | None = Field(default=None, description="Null while nobody has decided.")
    decided_at: datetime | None = None
    decided_by: str | None = None
    reason: str | None = None
    original_input: JsonValue = Field(
        default=None, description="The input before the person edited it; null where it was not."
    )


class Call(Reply):
    """A call as it stands. `result` is null as well where it is longer than 1,000,000 characters: see `resultSize`."""

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
        default=None, description="Characters of the whole result, which `GET …/result` answers."
    )
    attempts: int = Field(default=0, description="How often a function worker began.")
    machine_id: str | None = None
    approval: CallApproval | None = None
    cached_from: str | None = Field(
        default=None, description="The call whose result was used again."
    )
    blobs: list[Blob] = Field(default_factory=list[Blob])
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None


class CallPage(Reply):
    """Calls of a run."""

    items: list[Call]
    next_cursor: str | None = None
