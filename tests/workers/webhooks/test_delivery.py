"""A webhook from its row to its receiver: the activity as the delivery workflow calls it, over the store and a real server."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from pydantic import SecretStr
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from orchestrator.operations.webhooks import Webhooks
from orchestrator.settings import Settings
from orchestrator.store import tables
from orchestrator.workflows.interface import CallRef, CallSchedule, RunRef
from perdure.contract import RunStatus, StatusChange, StatusChangeTarget, WebhookTarget
from tests.support.stage import Stage
from tests.support.webhook_receiver import Receiver, answer, receiving
from workers.webhooks.delivery import MAX_RETRY_DELAY, WebhookDelivery, retry_delay
from workers.webhooks.sender import WebhookSender

SETTINGS = Settings(
    webhook_allowed_networks="127.0.0.0/8",
    payload_key=SecretStr("a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="),
)


@pytest.fixture
async def receiver() -> AsyncGenerator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
def webhooks(stage: Stage) -> Webhooks:
    return Webhooks(stage.store, SETTINGS)


@pytest.fixture
async def delivery(stage: Stage, webhooks: Webhooks) -> AsyncGenerator[WebhookDelivery]:
    sender = WebhookSender(SETTINGS.webhook_rules)
    yield WebhookDelivery(stage.store, webhooks, sender)
    await sender.aclose()


async def _run(stage: Stage, receiver: Receiver) -> tuple[RunRef, CallSchedule]:
    """A run that is done, of which the webhook wants to know."""
    target = StatusChangeTarget(
        webhook=WebhookTarget(url=receiver.url()), statuses=[RunStatus.DONE]
    )
    ref = await stage.finished(on_status_change=target, metadata={"team": "sales"})
    (order,) = await stage.store.deliveries.list_pending(ref, [])
    return ref, order


async def _deliver(delivery: WebhookDelivery, ref: RunRef, order: CallSchedule) -> None:
    call_ref = CallRef(ref, order.call_id)
    outcome = await ActivityEnvironment().run(delivery.deliver_webhook, call_ref)
    assert outcome.call_id == order.call_id


async def _refused(delivery: WebhookDelivery, ref: RunRef, order: CallSchedule) -> float:
    """The seconds until the next attempt."""
    with pytest.raises(ApplicationError) as caught:
        await _deliver(delivery, ref, order)
    assert caught.value.next_retry_delay is not None
    assert not caught.value.non_retryable
    return caught.value.next_retry_delay.total_seconds()


async def _delivery_of(stage: Stage, ref: RunRef) -> tuple[str, int, str | None]:
    (one,) = await stage.store.deliveries.page(ref, after=0, limit=9)
    return one.status, one.attempts, one.last_error


async def test_a_transition_reaches_its_receiver_signed(
    stage: Stage, receiver: Receiver, webhooks: Webhooks, delivery: WebhookDelivery
) -> None:
    _, secret = await webhooks.create_secret(stage.cluster_id, keep_seconds=0)
    ref, order = await _run(stage, receiver)
    await _deliver(delivery, ref, order)
    (request,) = receiver.received
    assert request.headers["webhook-id"] == f"{ref.run_id}:2"
    change = request.verified(secret)
    assert {name: change[name] for name in ("runId", "status", "metadata", "result")} == {
        "runId": ref.run_id,
        "status": "done",
        "metadata": {"team": "sales"},
        "result": "the answer",
    }
    assert StatusChange.model_validate(change).transition == 2
    assert await _delivery_of(stage, ref) == ("delivered", 1, None)


async def test_a_receiver_in_trouble_is_tried_again_until_it_takes_it(
    stage: Stage, receiver: Receiver, webhooks: Webhooks, delivery: WebhookDelivery
) -> None:
    await webhooks.create_secret(stage.cluster_id, keep_seconds=0)
    ref, order = await _run(stage, receiver)
    receiver.answers += [answer(500, b"broken"), answer(503, Retry_After="90")]
    assert await _refused(delivery, ref, order) == 1
    assert await _delivery_of(stage, ref) == ("pending", 1, "500: broken")
    assert await _refused(delivery, ref, order) == 90
    await _deliver(delivery, ref, order)
    assert await _delivery_of(stage, ref) == ("delivered", 3, "503 Answer")
    assert {request.headers["webhook-id"] for request in receiver.received} == {f"{ref.run_id}:2"}
    assert len({request.body for request in receiver.received}) == 1
    await _deliver(delivery, ref, order)
    assert len(receiver.received) == 3, "sent again although it was delivered"


async def test_a_receiver_that_is_gone_is_notified_nothing_more(
    stage: Stage, receiver: Receiver, webhooks: Webhooks, delivery: WebhookDelivery
) -> None:
    await webhooks.create_secret(stage.cluster_id, keep_seconds=0)
    ref, order = await _run(stage, receiver)
    receiver.answers.append(answer(410, b"no more"))
    await _deliver(delivery, ref, order)
    assert await _delivery_of(stage, ref) == ("dead", 1, "410: no more")
    assert await stage.store.deliveries.list_pending(ref, []) == []
    await _deliver(delivery, ref, order)
    assert len(receiver.received) == 1


async def test_receivers_can_change_secrets_without_missing_anything(
    stage: Stage, receiver: Receiver, webhooks: Webhooks, delivery: WebhookDelivery
) -> None:
    _, old = await webhooks.create_secret(stage.cluster_id, keep_seconds=0)
    _, new = await webhooks.create_secret(stage.cluster_id, keep_seconds=3_600)
    ref, order = await _run(stage, receiver)
    await _deliver(delivery, ref, order)
    (request,) = receiver.received
    assert request.verified(old) == request.verified(new)


async def test_without_a_secret_a_webhook_waits_for_one(
    stage: Stage, receiver: Receiver, webhooks: Webhooks, delivery: WebhookDelivery
) -> None:
    ref, order = await _run(stage, receiver)
    assert await _refused(delivery, ref, order) == 1
    status, _, error = await _delivery_of(stage, ref)
    assert status == "pending"
    assert "secret" in str(error)
    await webhooks.create_secret(stage.cluster_id, keep_seconds=0)
    await _deliver(delivery, ref, order)
    assert len(receiver.received) == 1


async def test_secrets_are_sealed_with_the_payload_key(
    stage: Stage, receiver: Receiver, webhooks: Webhooks
) -> None:
    _, secret = await webhooks.create_secret(stage.cluster_id, keep_seconds=0)
    (row,) = await stage.rows(tables.webhook_secrets)
    assert secret.encode() not in row["value"]
    sender = WebhookSender(SETTINGS.webhook_rules)
    another = Webhooks(stage.store, SETTINGS.model_copy(update={"payload_key": None}))
    ref, order = await _run(stage, receiver)
    assert await _refused(WebhookDelivery(stage.store, another, sender), ref, order) == 1
    await sender.aclose()
    assert "PERDURE_PAYLOAD_KEY" in str((await _delivery_of(stage, ref))[2])
    assert receiver.received == []


async def test_an_address_that_is_not_allowed_any_more_is_not_reached(
    stage: Stage, receiver: Receiver, webhooks: Webhooks
) -> None:
    await webhooks.create_secret(stage.cluster_id, keep_seconds=0)
    sender = WebhookSender(Settings(webhook_allowed_networks="").webhook_rules)
    ref, order = await _run(stage, receiver)
    assert await _refused(WebhookDelivery(stage.store, webhooks, sender), ref, order) == 1
    await sender.aclose()
    assert "loopback" in str((await _delivery_of(stage, ref))[2])
    assert receiver.connections == 0


async def test_nothing_is_sent_for_a_run_that_was_deleted(
    stage: Stage, receiver: Receiver, delivery: WebhookDelivery
) -> None:
    _, order = await _run(stage, receiver)
    await _deliver(delivery, RunRef(stage.cluster_id, "deleted"), order)
    assert receiver.received == []


def test_pauses_grow_from_a_second_to_ten_minutes() -> None:
    pauses = [retry_delay(attempt, None) for attempt in range(1, 200)]
    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses == sorted(pauses)
    assert pauses[-1] == MAX_RETRY_DELAY == 600
    assert retry_delay(1, 77.0) == 77
    assert retry_delay(8, 0.0) == 128
