"""Messages of a run."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from perdure.contract.base import Reply, Request
from perdure.contract.limits import MessageId, Prompt
from perdure.contract.statuses import MessageType


class CreateMessage(Request):
    """A follow-up to an interactive run. While the run is busy it is queued, in order."""

    message: Prompt
    id: MessageId | None = None
    type: Literal["human", "supervisor"] = "human"


class EditMessage(Request):
    """Change the text of a message: the run begins again from it."""

    message: Prompt


class RetryRun(Request):
    """Begin again from a message."""

    message_id: MessageId | None = Field(
        default=None, description="Default: the last message that was sent to the run."
    )


class Message(Reply):
    id: str
    type: MessageType
    data: dict[str, Any]
    turn: int
    created_at: datetime
    replaced_by: str | None = Field(
        default=None,
        description="Id of the message whose edit or retry replaced this one.",
    )


class MessagePage(Reply):
    """Messages, oldest first."""

    items: list[Message]
    next_cursor: str | None = None
