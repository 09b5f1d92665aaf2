"""What happened to a run: events, and the transitions that handlers are told."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field, JsonValue

from perdure.contract.base import Reply
from perdure.contract.blobs import Blob
from perdure.contract.calls import Call
from perdure.contract.messages import Message
from perdure.contract.runs import Run
from perdure.contract.statuses import RunStatus


class Event(Reply):
    """One numbered thing that happened to a run; `version` is gapless from 1."""

    version: int
    type: str
    data: dict[str, Any]
    created_at: datetime


class EventPage(Reply):
    """Events after `after`, in order. `version` is the last one listed: pass it as the next `after`."""

    items: list[Event]
    version: int
    has_more: bool = False


class StatusChange(Reply):
    """What a status-change handler receives, at least once per transition and in order.

    `id` is `runId:transition`: the same id twice is the same transition twice.
    """

    id: str
    run_id: str
    cluster_id: str
    transition: int
    turn: int
    previous: RunStatus
    status: RunStatus
    result: JsonValue = None
    result_null_reason: str | None = None
    failure_reason: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    created_at: datetime


class Timeline(Reply):
    """The run as it stands, the events after a version, and what they are about, each as it stands now."""

    run: Run
    activity: list[Event] = Field(description="Events after `after`, in order.")
    messages: list[Message] = Field(description="Those that the events are about, oldest first.")
    calls: list[Call] = Field(
        description="Those that the events are about, in the order they were made. A `result` of more than 10,000 "
        "characters is left out; `resultSize` says how long it is."
    )
    blobs: list[Blob] = Field(description="Those of the calls listed.")
    version: int = Field(description="Of the last event listed: pass it as the next `after`.")
    has_more: bool = False
