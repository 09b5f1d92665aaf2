"""Approvals: requested by functions, decided by people."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StrictBool, StringConstraints

from perdure.contract.base import Reply, Request
from perdure.contract.limits import MAX_APPROVAL_SECONDS, MAX_DESCRIPTION, MAX_REASON


class ApprovalRequest(Reply):
    """An approval request, which a function returns as an interrupt."""

    type: Literal["approval"] = "approval"
    message: Annotated[str, StringConstraints(max_length=MAX_DESCRIPTION)] | None = Field(
        default=None, description="A message for the person who decides."
    )
    expires_seconds: Annotated[float, Field(strict=True, gt=0, le=MAX_APPROVAL_SECONDS)] | None = (
        Field(default=None, description="Seconds after which an undecided call counts as denied.")
    )


class DecideCall(Request):
    """A decision on a call that waits for approval."""

    approved: StrictBool
    reason: Annotated[str, StringConstraints(max_length=MAX_REASON)] | None = Field(
        default=None, description="Stored; the model receives the reason of a denial."
    )
    input: dict[str, JsonValue] | None = Field(
        default=None,
        description="Replaces the call's arguments; validated against the function's schema.",
    )


class PendingApproval(Reply):
    """A call that waits for approval."""

    call_id: str
    run_id: str
    run_name: str
    service: str
    function: str
    input: JsonValue
    reasoning: str | None = Field(default=None, description="Why the model makes the call.")
    message: str | None = Field(
        default=None, description="The function's message for the person who decides."
    )
    requested_at: datetime
    expires_at: datetime = Field(description="Time at which an undecided call counts as denied.")


class ApprovalPage(Reply):
    items: list[PendingApproval]
    next_cursor: str | None = None
