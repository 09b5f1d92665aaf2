"""Events of a run, its timeline, and its status changes for handlers."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, JsonValue

from perdure.contract.base import Reply, Request
from perdure.contract.blobs import Blob
from perdure.contract.calls import Call
from perdure.contract.messages import Message
from perdure.contract.runs import Run
from perdure.contract.statuses import RunStatus


class Event(Reply):
    """An event of a run; `version` counts from 1 without gaps."""

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
    """The input of a status-change handler: at least once per transition, in order.

    `id` is `runId:transition`: a repeated id is a repeated delivery of the same transition.
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
    """The current run, the events after a version, and the current state of what they are about."""

    run: Run
    activity: list[Event] = Field(description="Events after `after`, in order.")
    messages: list[Message] = Field(
        description="The messages that the events are about, oldest first."
    )
    calls: list[Call] = Field(
        description="Those that the events are about, in the order they were made. A `result` of more than 10,000 "
        "characters is left out; `resultSize` says how long it is."
    )
    blobs: list[Blob] = Field(description="Those of the calls listed.")
    version: int = Field(description="Of the last event listed: pass it as the next `after`.")
    has_more: bool = False


MAX_SECRET_OVERLAP = 30 * 86_400
"""Seconds that a webhook secret may stay valid beside its successor."""


class DeliveryStatus(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


class DeliveryKind(StrEnum):
    FUNCTION = "function"
    WEBHOOK = "webhook"


class Delivery(Reply):
    """The delivery of one transition to the run's handler or webhook. `id` is the receiver's, `runId:transition`."""

    id: str
    transition: int
    status: DeliveryStatus
    kind: DeliveryKind
    call_id: str
    attempts: int
    """Attempts since the delivery was last started."""
    last_error: str | None = None
    created_at: datetime
    settled_at: datetime | None = None


class DeliveryPage(Reply):
    """Deliveries of a run, oldest transition first."""

    items: list[Delivery]
    next_cursor: str | None = None


class CreateWebhookSecret(Request):
    """Create a secret that signs the cluster's webhooks."""

    expires_in_seconds: Annotated[int, Field(strict=True, ge=0, le=MAX_SECRET_OVERLAP)] = Field(
        default=86_400,
        description="How long existing secrets stay valid: the time to change the receivers.",
    )


class WebhookSecret(Reply):
    """A secret that signs webhooks, without its value. `expiresAt` is set once it has a successor."""

    id: str
    created_at: datetime
    expires_at: datetime | None = None


class NewWebhookSecret(WebhookSecret):
    """A new secret. Its value cannot be read again."""

    secret: str


class WebhookSecretPage(Reply):
    """The current secrets, newest first."""

    items: list[WebhookSecret]
