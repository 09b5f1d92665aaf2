"""A call handed out to a machine that was never notified is offered again, long before its own timeout."""

from __future__ import annotations

import pytest
from typing_extensions import override

from orchestrator.errors import UnavailableError
from orchestrator.runtime.clock import now_ms
from orchestrator.settings import Settings
from orchestrator.store import tables
from orchestrator.store.recovery.stalled_runs import LOST_AFTER_MS
from orchestrator.temporal.activity_tasks import NOT_DELIVERED, ActivityTaskClient
from orchestrator.temporal.client import Temporal
from orchestrator.workflows.interface import RunRef
from perdure.contract import FunctionConfig
from tests.support.stage import Stage
from workers.recovery.lost_leases import LostLeaseRecovery

calls = tables.calls


class Queue(ActivityTaskClient):
    """Writes down which tokens it is to fail; or is away."""

    def __init__(self) -> None:
        super().__init__(Temporal(Settings()), "tests")
        self.failed: list[tuple[bytes, str, float | None]] = []
        self.away = False

    @override
    async def fail(self, token: bytes, kind: str, reason: str, *, delay: float | None) -> bool:
        if self.away:
            raise UnavailableError("Temporal does not answer.")
        self.failed.append((token, kind, delay))
        return True


@pytest.fixture
def queue() -> Queue:
    return Queue()


async def _leased(stage: Stage, *, heartbeats: bool = False) -> tuple[RunRef, str]:
    config = FunctionConfig(timeout_seconds=3_600.0)
    await stage.register("query", heartbeats=heartbeats, config=config)
    ref = await stage.run()
    (order,) = await stage.called(ref)
    await stage.lease(ref, order.call_id)
    await _wait(stage, order.call_id)
    return ref, order.call_id


async def _wait(stage: Stage, call_id: str) -> None:
    await stage.alter(calls, calls.c.id == call_id, handed_out_at=now_ms() - LOST_AFTER_MS - 1)


async def _sweep(stage: Stage, queue: Queue) -> None:
    await LostLeaseRecovery(stage.store.lost_leases, queue).sweep()


async def test_a_lease_that_reached_nobody_is_withdrawn(stage: Stage, queue: Queue) -> None:
    ref, call_id = await _leased(stage)
    await _sweep(stage, queue)
    assert queue.failed == [(b"token", NOT_DELIVERED, 0.05)]
    row = await stage.call_row(call_id)
    assert (row["status"], row["attempts"], row["task_token"]) == ("pending", 0, None)
    assert await stage.events(ref, "call.undelivered") == [{"callId": call_id, "attempt": 1}]
    await _sweep(stage, queue)
    assert len(queue.failed) == 1
    assert (await stage.lease(ref, call_id, "m2")).attempt == 2


async def test_one_that_was_confirmed_or_sends_heartbeats_is_left_alone(
    stage: Stage, queue: Queue
) -> None:
    _, confirmed = await _leased(stage)
    await stage.acknowledge(confirmed)
    await _sweep(stage, queue)
    assert queue.failed == []


async def test_a_machine_with_heartbeats_is_missed_by_temporal(stage: Stage, queue: Queue) -> None:
    await _leased(stage, heartbeats=True)
    await _sweep(stage, queue)
    assert queue.failed == []


async def test_one_that_is_fresh_is_given_time(stage: Stage, queue: Queue) -> None:
    _, call_id = await _leased(stage)
    await stage.alter(calls, calls.c.id == call_id, handed_out_at=now_ms())
    await _sweep(stage, queue)
    assert queue.failed == []


async def test_while_temporal_is_away_it_stays_to_be_found(stage: Stage, queue: Queue) -> None:
    _, call_id = await _leased(stage)
    queue.away = True
    await _sweep(stage, queue)
    assert (await stage.call_row(call_id))["status"] == "running"
    queue.away = False
    await _sweep(stage, queue)
    assert len(queue.failed) == 1


async def test_a_call_that_was_given_out_again_meanwhile_stays_with_its_machine(
    stage: Stage,
) -> None:
    ref, call_id = await _leased(stage)
    (lost,) = await stage.store.lost_leases.find_unconfirmed()
    await stage.lease(ref, call_id, "m2", b"later")
    assert not await stage.store.lost_leases.release(lost)
    assert (await stage.call_row(call_id))["machine_id"] == "m2"
