"""Approvals: asked for by functions, given or refused by people."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StrictBool, StringConstraints

from perdure.contract.base import Reply, Request
from perdure.contract.limits import MAX_APPROVAL_SECONDS, MAX_DESCRIPTION, MAX_REASON


class ApprovalRequest(Reply):
    """What a function returns, as an interrupt, to have a person asked before it goes on."""

    type: Literal["approval"] = "approval"
    message: Annotated[str, StringConstraints(max_length=MAX_DESCRIPTION)] | None = Field(
        default=None, description="What the person is to know."
    )
    expires_seconds: Annotated[float, Field(strict=True, gt=0, le=MAX_APPROVAL_SECONDS)] | None = (
        Field(default=None, description="Undecided this long, the call counts as denied.")
    )


class DecideCall(Request):
    """A person's word on a call that waits for it."""

    approved: StrictBool
    reason: Annotated[str, StringConstraints(max_length=MAX_REASON)] | None = Field(
        default=None, description="Kept; of a denial, the model sees it."
    )
    input: dict[str, JsonValue] | None = Field(
        default=None,
        description="Other arguments to make the call with; checked against the function's schema.",
    )


class PendingApproval(Reply):
    """A call that waits for a person's word."""

    call_id: str
    run_id: str
    run_name: str
    service: str
    function: str
    input: JsonValue
    reasoning: str | None = Field(default=None, description="Why the model makes the call.")
    message: str | None = Field(default=None, description="What the function says to the person.")
    requested_at: datetime
    expires_at: datetime = Field(description="Undecided then, the call counts as denied.")


class ApprovalPage(Reply):
    items: list[PendingApproval]
    next_cursor: str | None = None
