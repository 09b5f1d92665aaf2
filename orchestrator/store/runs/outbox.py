"""Rows of deliveries, written together with a transition."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue
from sqlalchemy import insert, update

from orchestrator.runtime.ids import new_id
from orchestrator.store import tables
from orchestrator.store.database.engine import Read, Write
from orchestrator.store.database.json_columns import optional_from_json, to_json
from orchestrator.store.functions.available import call_settings
from orchestrator.store.records import CallRecord, RunRecord
from orchestrator.workflows.interface import RunRef
from orchestrator.workflows.wakeups import Wakeup, WakeupKind
from perdure.contract import CallStatus, FunctionReference, StatusChange, StatusChangeTarget

WEBHOOK = "webhook"
"""Kind of the calls that are webhooks."""
WEBHOOK_FUNCTION = FunctionReference(service="webhook", function="deliver")
WEBHOOK_TIMEOUT_MS = 15_000
WEBHOOK_DEADLINE_MS = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class DeliveryTimeouts:
    """Time limits of a delivery: of one attempt, and of all of them."""

    timeout_ms: int
    deadline_ms: int
    heartbeats: bool


def delivery_target(record: RunRecord) -> StatusChangeTarget | None:
    """The receiver of the run's transitions."""
    target: JsonValue = optional_from_json(record.on_status_change)
    return None if target is None else StatusChangeTarget.model_validate(target)


async def delivery_timeouts(
    read: Read, cluster_id: str, target: StatusChangeTarget
) -> DeliveryTimeouts:
    """The time limits of deliveries to this target."""
    if target.function is None:
        return DeliveryTimeouts(WEBHOOK_TIMEOUT_MS, WEBHOOK_DEADLINE_MS, heartbeats=False)
    settings = await call_settings(read, cluster_id, target.function)
    return DeliveryTimeouts(settings.timeout_ms, settings.deadline_ms, settings.heartbeats)


async def enqueue_delivery(write: Write, record: RunRecord, change: StatusChange, now: int) -> None:
    """Write the delivery of a transition, if the run has a receiver for it."""
    target = delivery_target(record)
    if target is None or (target.statuses is not None and change.status not in target.statuses):
        return
    timeouts = await delivery_timeouts(write, record.cluster_id, target)
    function = target.function or WEBHOOK_FUNCTION
    call = {
        "run_key": record.key,
        "id": new_id(),
        "cluster_id": record.cluster_id,
        "kind": WEBHOOK if target.function is None else "handler",
        "service": function.service,
        "function": function.function,
        "input": to_json(change.model_dump(mode="json", by_alias=True)),
        "max_attempts": 0,
        "timeout_ms": timeouts.timeout_ms,
        "deadline_ms": timeouts.deadline_ms,
        "heartbeats": timeouts.heartbeats,
        "status": CallStatus.PENDING.value,
        "created_at": now,
    }
    statement = insert(tables.calls).values(**call).returning(tables.calls.c.key)
    call_key = (await write.execute(statement)).scalar_one()
    await write.execute(
        insert(tables.deliveries).values(
            run_key=record.key,
            transition=change.transition,
            call_key=call_key,
            status="pending",
            created_at=now,
        )
    )
    wake_delivery(write, record)


def wake_delivery(write: Write, record: RunRecord) -> None:
    """Wake the run's delivery workflow after the commit."""
    write.wake(Wakeup(WakeupKind.DELIVERY, RunRef(record.cluster_id, record.id)))


async def mark_delivered(write: Write, call: CallRecord, now: int) -> None:
    """The call of a delivery has its result."""
    rows = tables.deliveries
    await write.execute(
        update(rows)
        .where(rows.c.run_key == call.run_key, rows.c.call_key == call.key)
        .values(status="delivered", settled_at=now)
    )
