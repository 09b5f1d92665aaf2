"""Webhooks in the store: which transitions they receive, how attempts are counted, what can be sent again."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.rules.lifecycle import Trigger
from orchestrator.store import tables
from orchestrator.store.database.json_columns import object_from_json
from orchestrator.store.deliveries.deliveries import MAX_ERROR
from orchestrator.workflows.interface import DELIVER_WEBHOOK, WEBHOOK_QUEUE, CallSchedule, RunRef
from perdure.contract import (
    FunctionConfig,
    ResultType,
    RunStatus,
    StatusChange,
    StatusChangeTarget,
    WebhookTarget,
)
from tests.support.stage import HANDLER, Stage, text_of

WEBHOOK = StatusChangeTarget(webhook=WebhookTarget(url="https://hooks.example/a"))
DAY = 24 * 3_600


def _only(*statuses: RunStatus, target: StatusChangeTarget = WEBHOOK) -> StatusChangeTarget:
    return target.model_copy(update={"statuses": list(statuses)})


async def _waiting(stage: Stage, ref: RunRef, *dead: str) -> list[CallSchedule]:
    return await stage.store.deliveries.list_pending(ref, dead)


async def _delivered(stage: Stage, ref: RunRef) -> list[StatusChange]:
    """What the deliveries that wait say."""
    rows = [await stage.call_row(order.call_id) for order in await _waiting(stage, ref)]
    return [StatusChange.model_validate(object_from_json(row["input"])) for row in rows]


async def _statuses(stage: Stage, ref: RunRef) -> list[str]:
    return [one.status for one in await stage.store.deliveries.page(ref, after=0, limit=99)]


async def test_a_webhook_is_an_activity_of_the_webhooks_own_queue(stage: Stage) -> None:
    ref = await stage.finished(on_status_change=WEBHOOK)
    first, second = await _waiting(stage, ref)
    assert (first.queue, first.name) == (WEBHOOK_QUEUE, DELIVER_WEBHOOK)
    assert first.deadline == pytest.approx(DAY, abs=30)
    assert first.heartbeat is None
    row = await stage.call_row(second.call_id)
    assert (row["kind"], row["service"], row["function"]) == ("webhook", "webhook", "deliver")


async def test_a_webhook_whose_time_was_spent_in_waiting_still_has_one_attempt(
    stage: Stage,
) -> None:
    ref = await stage.finished(on_status_change=WEBHOOK)
    await stage.alter(tables.calls, created_at=0)
    assert {order.deadline for order in await _waiting(stage, ref)} == {20.0}


@pytest.mark.parametrize("target", [HANDLER, WEBHOOK])
async def test_a_filter_lets_only_the_wanted_transitions_through(
    stage: Stage, target: StatusChangeTarget
) -> None:
    wanted = _only(RunStatus.DONE, RunStatus.FAILED, target=target)
    ref = await stage.finished(on_status_change=wanted)
    await stage.send(ref, "and?")
    await stage.think(ref, text_of("that"))
    changes = await _delivered(stage, ref)
    assert [(change.transition, change.status) for change in changes] == [(2, "done"), (5, "done")]


async def test_a_filter_that_nothing_passes_leaves_nothing_to_deliver(stage: Stage) -> None:
    ref = await stage.finished(on_status_change=_only(RunStatus.PAUSED))
    assert await _delivered(stage, ref) == []
    assert not await stage.has_pending_deliveries(ref)


@pytest.mark.parametrize(
    ("move", "status"), [(Trigger.FAIL, RunStatus.FAILED), (Trigger.CANCEL, RunStatus.CANCELLED)]
)
async def test_webhooks_are_notified_of_failed_and_cancelled_runs(
    stage: Stage, move: Trigger, status: RunStatus
) -> None:
    ref = await stage.run(on_status_change=_only(RunStatus.FAILED, RunStatus.CANCELLED))
    if move is Trigger.CANCEL:
        await stage.store.runs.cancel(ref, "because")
    else:
        await stage.store.runs.end_turn(ref, move, "because")
    (change,) = await _delivered(stage, ref)
    assert (change.status, change.failure_reason) == (status, "because")


async def test_an_attempt_is_counted_before_it_is_made(stage: Stage) -> None:
    ref = await stage.finished(on_status_change=WEBHOOK, metadata={"team": "sales"})
    first, _ = await _waiting(stage, ref)
    attempt = await stage.store.deliveries.begin_webhook(ref, first.call_id)
    assert attempt is not None
    assert (attempt.notice_id, attempt.number) == (f"{ref.run_id}:1", 1)
    assert attempt.url == "https://hooks.example/a"
    body = object_from_json(attempt.body)
    assert (body["runId"], body["status"]) == (ref.run_id, "running")
    assert body["metadata"] == {"team": "sales"}
    again = await stage.store.deliveries.begin_webhook(ref, first.call_id)
    assert again is not None
    assert again.number == 2


async def test_a_failed_attempt_says_why_and_leaves_no_event(stage: Stage) -> None:
    ref = await stage.finished(on_status_change=WEBHOOK)
    first, second = await _waiting(stage, ref)
    before = await stage.event_types(ref)
    await stage.store.deliveries.begin_webhook(ref, first.call_id)
    await stage.store.deliveries.webhook_failed(ref, first.call_id, "500: \0" + "x" * 9_999)
    assert await stage.event_types(ref) == before
    one, _ = await stage.store.deliveries.page(ref, after=0, limit=9)
    assert (one.status, one.attempts, one.settled_at) == ("pending", 1, None)
    assert one.last_error is not None
    assert one.last_error.startswith("500: \\u0000xxx")
    assert len(one.last_error) == MAX_ERROR
    assert [order.call_id for order in await _waiting(stage, ref)] == [
        first.call_id,
        second.call_id,
    ]


async def test_a_delivered_webhook_is_not_sent_again(stage: Stage) -> None:
    ref = await stage.finished(on_status_change=WEBHOOK)
    first, second = await _waiting(stage, ref)
    await stage.store.deliveries.begin_webhook(ref, first.call_id)
    await stage.store.deliveries.webhook_delivered(ref, first.call_id)
    assert await stage.store.deliveries.begin_webhook(ref, first.call_id) is None
    await stage.store.deliveries.webhook_failed(ref, first.call_id, "late")
    assert await _statuses(stage, ref) == ["delivered", "pending"]
    assert [order.call_id for order in await _waiting(stage, ref)] == [second.call_id]
    assert (await stage.call_row(first.call_id))["status"] == "success"


async def test_a_receiver_that_is_gone_is_abandoned_at_once(stage: Stage) -> None:
    ref = await stage.finished(on_status_change=WEBHOOK)
    first, _ = await _waiting(stage, ref)
    await stage.store.deliveries.begin_webhook(ref, first.call_id)
    await stage.store.deliveries.webhook_failed(ref, first.call_id, "410: gone", final=True)
    assert await _statuses(stage, ref) == ["dead", "pending"]
    dead = {"transition": 1, "callId": first.call_id, "reason": "410: gone"}
    assert await stage.events(ref, "delivery.dead") == [dead]
    assert await stage.store.deliveries.begin_webhook(ref, first.call_id) is None
    assert (await stage.call_row(first.call_id))["status"] == "failure"


async def test_an_attempt_that_came_through_after_all_is_delivered(stage: Stage) -> None:
    """Its time ran out while the receiver was answering."""
    ref = await stage.finished(on_status_change=WEBHOOK)
    first, _ = await _waiting(stage, ref)
    await stage.store.deliveries.begin_webhook(ref, first.call_id)
    await _waiting(stage, ref, first.call_id)
    assert await _statuses(stage, ref) == ["dead", "pending"]
    await stage.store.deliveries.webhook_delivered(ref, first.call_id)
    assert await _statuses(stage, ref) == ["delivered", "pending"]


async def test_nothing_is_sent_for_another_run_or_a_handler_or_a_deleted_run(stage: Stage) -> None:
    ours = await stage.finished(on_status_change=WEBHOOK)
    theirs = await stage.finished(on_status_change=WEBHOOK)
    handlers = await stage.finished(on_status_change=HANDLER)
    (theirs_first, _), (handlers_first, _) = (
        await _waiting(stage, theirs),
        await _waiting(stage, handlers),
    )
    gone = RunRef(stage.cluster_id, "gone")
    for ref, order in ((ours, theirs_first), (handlers, handlers_first), (gone, theirs_first)):
        assert await stage.store.deliveries.begin_webhook(ref, order.call_id) is None
        await stage.store.deliveries.webhook_delivered(ref, order.call_id)
        await stage.store.deliveries.webhook_failed(ref, order.call_id, "no", final=True)
    for ref in (ours, theirs, handlers):
        assert await _statuses(stage, ref) == ["pending", "pending"]


# -- listing and sending again ---------------------------------------------------------------------


async def test_deliveries_are_listed_in_order_and_in_pages(stage: Stage) -> None:
    ref = await stage.finished(on_status_change=HANDLER)
    page = await stage.store.deliveries.page(ref, after=0, limit=1)
    rest = await stage.store.deliveries.page(ref, after=1, limit=9)
    assert [(one.transition, one.kind, one.function) for one in (*page, *rest)] == [
        (1, "handler", "announce"),
        (2, "handler", "announce"),
    ]
    with pytest.raises(NotFoundError):
        await stage.store.deliveries.page(RunRef("elsewhere", ref.run_id), after=0, limit=9)


async def test_a_dead_webhook_can_be_sent_again_before_the_later_ones(stage: Stage) -> None:
    ref = await stage.finished(on_status_change=WEBHOOK)
    first, second = await _waiting(stage, ref)
    await stage.store.deliveries.begin_webhook(ref, first.call_id)
    await stage.store.deliveries.webhook_failed(ref, first.call_id, "410", final=True)
    await stage.alter(tables.calls, created_at=tables.calls.c.created_at - 2 * DAY * 1000)
    resent = await stage.store.deliveries.resend(ref, 1)
    assert (resent.status, resent.attempts, resent.settled_at) == ("pending", 0, None)
    again, later = await _waiting(stage, ref)
    assert (again.call_id, later.call_id) == (first.call_id, second.call_id)
    assert again.deadline == pytest.approx(DAY, abs=30)
    assert await stage.events(ref, "delivery.resent") == [
        {"transition": 1, "callId": first.call_id}
    ]
    attempt = await stage.store.deliveries.begin_webhook(ref, first.call_id)
    assert attempt is not None
    assert attempt.number == 1
    await stage.store.deliveries.webhook_delivered(ref, first.call_id)
    assert await _statuses(stage, ref) == ["delivered", "pending"]


async def test_a_delivered_one_can_be_sent_again_as_often_as_one_likes(stage: Stage) -> None:
    ref = await stage.finished(on_status_change=WEBHOOK)
    first, _ = await _waiting(stage, ref)
    for _ in range(3):
        assert await stage.store.deliveries.begin_webhook(ref, first.call_id) is not None
        await stage.store.deliveries.webhook_delivered(ref, first.call_id)
        await stage.store.deliveries.resend(ref, 1)
    assert await _statuses(stage, ref) == ["pending", "pending"]


async def test_a_handler_is_notified_again_by_its_own_settings(stage: Stage) -> None:
    config = FunctionConfig(deadline_seconds=600, handler=True)
    await stage.register("announce", config=config)
    ref = await stage.finished(on_status_change=HANDLER)
    first, _ = await _waiting(stage, ref)
    await stage.lease_and_finish(ref, first.call_id, "null")
    await stage.alter(tables.calls, created_at=tables.calls.c.created_at - DAY * 1000)
    await stage.store.deliveries.resend(ref, 1)
    again, _ = await _waiting(stage, ref)
    assert again.call_id == first.call_id
    assert again.deadline == pytest.approx(600, abs=30)
    await stage.lease(ref, first.call_id)
    await stage.finish(first.call_id, "no", kind=ResultType.REJECTION)
    await stage.lease_and_finish(ref, first.call_id, "null")
    assert await _statuses(stage, ref) == ["delivered", "pending"]


async def test_what_is_under_way_or_unknown_is_not_sent_again(stage: Stage) -> None:
    ref = await stage.finished(on_status_change=WEBHOOK)
    with pytest.raises(ConflictError) as caught:
        await stage.store.deliveries.resend(ref, 1)
    assert caught.value.code == "delivery_is_pending"
    for other, transition in ((ref, 3), (RunRef("elsewhere", ref.run_id), 1)):
        with pytest.raises(NotFoundError):
            await stage.store.deliveries.resend(other, transition)


async def test_of_those_who_send_again_at_once_one_wins(stage: Stage, elsewhere: Stage) -> None:
    ref = await stage.finished(on_status_change=WEBHOOK)
    first, _ = await _waiting(stage, ref)
    await stage.store.deliveries.webhook_delivered(ref, first.call_id)
    stores = [stage.store, elsewhere.store] * 3
    came = await asyncio.gather(
        *(store.deliveries.resend(ref, 1) for store in stores), return_exceptions=True
    )
    assert sum(isinstance(one, ConflictError) for one in came) == len(stores) - 1
    assert len(await stage.events(ref, "delivery.resent")) == 1
