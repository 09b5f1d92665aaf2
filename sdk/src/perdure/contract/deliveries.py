"""Deliveries of status changes, and the secrets that sign those to webhooks."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from perdure.contract.base import Reply, Request

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
    """One transition on its way to the run's handler or webhook. `id` is what the receiver gets, `runId:transition`."""

    id: str
    transition: int
    status: DeliveryStatus
    kind: DeliveryKind
    call_id: str
    attempts: int
    """Made so far, since the delivery was last sent off."""
    last_error: str | None = None
    created_at: datetime
    settled_at: datetime | None = None


class DeliveryPage(Reply):
    """Deliveries of a run, oldest transition first."""

    items: list[Delivery]
    next_cursor: str | None = None


class CreateWebhookSecret(Request):
    """Make a secret that signs the cluster's webhooks."""

    expires_in_seconds: Annotated[int, Field(strict=True, ge=0, le=MAX_SECRET_OVERLAP)] = Field(
        default=86_400,
        description="How long the secrets that are there stay valid beside it: the time to change receivers over.",
    )


class WebhookSecret(Reply):
    """A secret that signs webhooks, without its value. `expiresAt` is set once another has taken over."""

    id: str
    created_at: datetime
    expires_at: datetime | None = None


class NewWebhookSecret(WebhookSecret):
    """A secret, the only time that its value is shown."""

    secret: str


class WebhookSecretPage(Reply):
    """The secrets that sign now, newest first."""

    items: list[WebhookSecret]
