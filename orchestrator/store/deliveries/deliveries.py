"""Deliveries of status transitions to handlers and webhooks: in order, at least once, visible when dead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, delete, select, update

from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.store import tables
from orchestrator.store.calls.rows import UPDATE_CALL, call_schedule, find_call, record_result
from orchestrator.store.database.engine import Database, Read, Write
from orchestrator.store.database.json_columns import to_storable_text
from orchestrator.store.records import CallRecord, DeliveryRecord
from orchestrator.store.runs.locked_run import LockedRun
from orchestrator.store.runs.outbox import (
    WEBHOOK,
    delivery_target,
    delivery_timeouts,
    mark_delivered,
    wake_delivery,
)
from orchestrator.workflows.interface import CallSchedule, RunRef
from perdure.contract import CallStatus, ResultType
from perdure.contract.event_types import DeliveryDead, DeliveryResent

deliveries, calls, runs = tables.deliveries, tables.calls, tables.runs

BATCH = 16
"""Deliveries of one run passed to its delivery workflow at a time."""
MAX_ERROR = 2_000
"""Characters stored of a failed attempt's reason."""


@dataclass(frozen=True, slots=True)
class WebhookAttempt:
    """The content of a webhook, and the number of this attempt."""

    notice_id: str
    url: str
    body: str
    number: int


class DeliveryStore:
    """Deliveries to handlers and webhooks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_pending(self, ref: RunRef, dead: Sequence[str]) -> list[CallSchedule]:
        """Calls without an answer, oldest transition first; `dead` ones are marked dead before."""
        async with self._database.write() as write:
            try:
                run = await LockedRun.lock(write, ref)
            except NotFoundError:
                return []
            for call_id in dead:
                await _mark_dead(run, call_id)
            await run.save()
            return [call_schedule(call, run.now) for call in await _pending_calls(write, run.key)]

    async def begin_webhook(self, ref: RunRef, call_id: str) -> WebhookAttempt | None:
        """Count an attempt before it is made; None if nothing is to be sent (any more)."""
        async with self._database.write() as write:
            found = await _open_webhook(write, ref, call_id)
            if found is None:
                return None
            run, call = found
            target = delivery_target(run.record)
            transition = await _pending_transition(write, call)
            if target is None or target.webhook is None or transition is None:
                return None
            tried = {"status": CallStatus.RUNNING.value, "handed_out_at": run.now}
            number = call.attempts + 1
            await write.execute(UPDATE_CALL, {"of_key": call.key, "attempts": number, **tried})
            notice_id = f"{run.record.id}:{transition}"
            return WebhookAttempt(notice_id, target.webhook.url, call.input, number)

    async def webhook_delivered(self, ref: RunRef, call_id: str) -> None:
        """The receiver accepted it; recorded even if the delivery was just marked dead."""
        async with self._database.write() as write:
            found = await _open_webhook(write, ref, call_id)
            if found is None:
                return
            run, call = found
            await record_result(run, call, ResultType.RESOLUTION, "null")
            await mark_delivered(write, call, run.now)
            await run.save()

    async def webhook_failed(
        self, ref: RunRef, call_id: str, reason: str, *, final: bool = False
    ) -> None:
        """The attempt failed; `final`: there will be no other."""
        async with self._database.write() as write:
            found = await _open_webhook(write, ref, call_id)
            if found is None:
                return
            run, call = found
            failed = {
                "status": CallStatus.PENDING.value,
                "last_error": to_storable_text(reason)[:MAX_ERROR],
            }
            await write.execute(UPDATE_CALL, {"of_key": call.key, **failed})
            if final:
                await _mark_dead(run, call_id)
            await run.save()

    async def page(self, ref: RunRef, *, after: int, limit: int) -> list[DeliveryRecord]:
        """Deliveries of a run with a transition after that one, in order. Raises `NotFoundError`."""
        run = select(runs.c.key).where(runs.c.cluster_id == ref.cluster_id, runs.c.id == ref.run_id)
        async with self._database.read() as read:
            run_key = (await read.execute(run)).scalar_one_or_none()
            if run_key is None:
                raise NotFoundError(f"There is no run {ref.run_id!r}.")
            statement = _select_deliveries().where(
                deliveries.c.run_key == run_key, deliveries.c.transition > after
            )
            rows = await read.execute(statement.order_by(deliveries.c.transition).limit(limit))
            return [DeliveryRecord(**row) for row in rows.mappings()]

    async def resend(self, ref: RunRef, transition: int) -> DeliveryRecord:
        """Send a finished delivery again, with its whole time limit.

        Raises `NotFoundError`, `ConflictError` if it is still to be sent.
        """
        async with self._database.write() as write:
            run = await LockedRun.lock(write, ref)
            record = await _find(write, run.key, transition)
            if record.status == "pending":
                raise ConflictError(
                    f"The delivery of transition {transition} is still under way.",
                    code="delivery_is_pending",
                )
            await _reopen(run, transition)
            wake_delivery(run.write, run.record)
            run.event(DeliveryResent(transition=transition, call_id=record.call_id))
            await run.save()
            return await _find(write, run.key, transition)


def _select_deliveries() -> Select[int, str, str, str, str, str, int, str | None, int, int | None]:
    return select(
        deliveries.c.transition,
        deliveries.c.status,
        calls.c.kind,
        calls.c.service,
        calls.c.function,
        calls.c.id.label("call_id"),
        calls.c.attempts,
        calls.c.last_error,
        deliveries.c.created_at,
        deliveries.c.settled_at,
    ).join(calls, calls.c.key == deliveries.c.call_key)


async def _find(read: Read, run_key: int, transition: int) -> DeliveryRecord:
    statement = _select_deliveries().where(
        deliveries.c.run_key == run_key, deliveries.c.transition == transition
    )
    row = (await read.execute(statement)).mappings().one_or_none()
    if row is None:
        raise NotFoundError(f"The run has no delivery of a transition {transition}.")
    return DeliveryRecord(**row)


async def _pending_calls(read: Read, run_key: int) -> list[CallRecord]:
    statement = (
        select(calls)
        .join(deliveries, deliveries.c.call_key == calls.c.key)
        .where(deliveries.c.run_key == run_key, deliveries.c.status == "pending")
        .order_by(deliveries.c.transition)
        .limit(BATCH)
    )
    return [CallRecord(**row) for row in (await read.execute(statement)).mappings()]


async def _mark_dead(run: LockedRun, call_id: str) -> None:
    call = await find_call(run.write, run.record.cluster_id, call_id)
    if call is None:
        return
    marked = await run.write.execute(
        update(deliveries)
        .where(
            deliveries.c.run_key == run.key,
            deliveries.c.call_key == call.key,
            deliveries.c.status == "pending",
        )
        .values(status="dead", settled_at=run.now)
        .returning(deliveries.c.transition)
    )
    for (transition,) in marked:
        run.event(DeliveryDead(transition=transition, call_id=call_id, reason=call.last_error))
        if call.kind == WEBHOOK:
            await run.write.execute(UPDATE_CALL, {"of_key": call.key, "status": _FAILURE})


async def _open_webhook(
    write: Write, ref: RunRef, call_id: str
) -> tuple[LockedRun, CallRecord] | None:
    """The run, locked, and its webhook call without a result; None if there is none (any more)."""
    try:
        run = await LockedRun.lock(write, ref)
    except NotFoundError:
        return None
    call = await find_call(write, ref.cluster_id, call_id)
    if call is None or call.run_key != run.key or call.kind != WEBHOOK:
        return None
    return None if call.result_type is not None else (run, call)


async def _pending_transition(read: Read, call: CallRecord) -> int | None:
    statement = select(deliveries.c.transition).where(
        deliveries.c.run_key == call.run_key,
        deliveries.c.call_key == call.key,
        deliveries.c.status == "pending",
    )
    transition: int | None = (await read.execute(statement)).scalar_one_or_none()
    return transition


async def _reopen(run: LockedRun, transition: int) -> None:
    """Reset the former attempts: their number, their time and their result."""
    this = (deliveries.c.run_key == run.key) & (deliveries.c.transition == transition)
    settled = select(calls).join(deliveries, deliveries.c.call_key == calls.c.key).where(this)
    call = CallRecord(**(await run.write.execute(settled)).mappings().one())
    results = tables.call_results
    await run.write.execute(delete(results).where(results.c.call_key == call.key))
    await run.write.execute(
        UPDATE_CALL,
        {
            "of_key": call.key,
            "status": CallStatus.PENDING.value,
            "attempts": 0,
            "deadline_ms": run.now - call.created_at + await _deadline(run, call),
            "machine_id": None,
            "task_token": None,
            "result_type": None,
            "result_size": None,
            "finished_at": None,
        },
    )
    await run.write.execute(
        update(deliveries).where(this).values(status="pending", settled_at=None)
    )


async def _deadline(run: LockedRun, call: CallRecord) -> int:
    target = delivery_target(run.record)
    if target is None:
        return call.deadline_ms
    return (await delivery_timeouts(run.write, call.cluster_id, target)).deadline_ms


_FAILURE = CallStatus.FAILURE.value
