"""The activity that delivers webhooks: counts the attempt, sends, records the outcome."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError

from orchestrator.operations.webhooks import Webhooks
from orchestrator.store.deliveries.deliveries import WebhookAttempt
from orchestrator.store.store import Store
from orchestrator.workflows import interface
from orchestrator.workflows.interface import CallOutcome, CallRef
from workers.webhooks.sender import Answer, DeliveryOutcome, Notice, WebhookSender

FIRST_RETRY_DELAY = 1.0
MAX_RETRY_DELAY = 600.0
"""Seconds between two attempts at most, unless the receiver asks for more."""
_DOUBLINGS = 10


class WebhookDelivery:
    """Webhooks as activities, which the delivery workflow schedules like calls of handlers."""

    def __init__(self, store: Store, webhooks: Webhooks, sender: WebhookSender) -> None:
        self._deliveries = store.deliveries
        self._webhooks = webhooks
        self._sender = sender

    @activity.defn(name=interface.DELIVER_WEBHOOK)
    async def deliver_webhook(self, call: CallRef) -> CallOutcome:
        """One attempt. Fails with the delay until the next attempt if the receiver did not accept it."""
        outcome = CallOutcome(call.call_id)
        attempt = await self._deliveries.begin_webhook(call.run, call.call_id)
        if attempt is None:
            return outcome
        answer = await self._attempt(call.run.cluster_id, attempt)
        if answer.outcome is DeliveryOutcome.DELIVERED:
            await self._deliveries.webhook_delivered(call.run, call.call_id)
            return outcome
        gone = answer.outcome is DeliveryOutcome.GONE
        await self._deliveries.webhook_failed(call.run, call.call_id, answer.reason, final=gone)
        if gone:
            return outcome
        # The reason is the receiver's text: it is in the store, not in Temporal's history.
        raise ApplicationError(
            f"attempt {attempt.number} failed",
            type="WebhookRefused",
            next_retry_delay=timedelta(seconds=retry_delay(attempt.number, answer.retry_after)),
        )

    async def _attempt(self, cluster_id: str, attempt: WebhookAttempt) -> Answer:
        try:
            secrets = await self._webhooks.secrets(cluster_id)
        except ValueError as error:
            return Answer(DeliveryOutcome.RETRY, str(error))
        return await self._sender.send(
            Notice(attempt.notice_id, attempt.url, attempt.body, secrets)
        )


def retry_delay(attempts: int, retry_after: float | None) -> float:
    """Seconds until the next attempt: doubled each time, or the receiver's `Retry-After` if that is longer."""
    pause = min(MAX_RETRY_DELAY, FIRST_RETRY_DELAY * 2.0 ** min(attempts - 1, _DOUBLINGS))
    return max(pause, retry_after or 0.0)
