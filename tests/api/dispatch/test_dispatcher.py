"""The door on its own, with a queue that always has another call and a store as slow as it is set to be."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import cast

import pytest

from api.dispatch.dispatcher import CallDispatcher
from orchestrator.store.calls.execution import CallStore
from orchestrator.store.calls.outcomes import Leased
from orchestrator.temporal.activity_tasks import ActivityTask, ActivityTaskClient
from orchestrator.temporal.in_flight_journal import InFlightJournal
from orchestrator.workflows.interface import CallRef, RunRef
from perdure.contract import FunctionCall

QUEUE = "calls/cluster/service/function"
GATHER = 0.02


class Queue:
    """Calls without end, each as soon as it is asked for."""

    def __init__(self) -> None:
        self._numbers = count()
        self.requeued: list[bytes] = []

    async def poll(self, queue: str) -> ActivityTask:
        await asyncio.sleep(0)
        call_id = f"{queue}-{next(self._numbers)}"
        return ActivityTask(call_id.encode(), CallRef(RunRef("cluster", "run"), call_id))

    async def fail(self, token: bytes, kind: str, message: str, *, delay: float | None) -> None:
        assert (kind, message, delay) == ("NotDelivered", "no machine was waiting", 0.05)
        self.requeued.append(token)

    async def shutdown_polls(self, queue: str) -> None:
        """Nothing is open: every poll is answered at once."""


class Store:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def lease(self, call_ref: CallRef, machine_id: str, token: bytes) -> Leased:
        assert (machine_id, token) == ("machine", call_ref.call_id.encode())
        await asyncio.sleep(self._seconds)
        call = FunctionCall(
            id=call_ref.call_id,
            service="service",
            function="function",
            input={},
            run_id=call_ref.run.run_id,
            attempt=1,
            timeout_seconds=30,
        )
        return Leased(call, limit=None)


@pytest.mark.parametrize(
    ("gather", "seconds", "handed_out"),
    [
        pytest.param(0.0, GATHER, 2, id="the first, and what is being written then, without it"),
        pytest.param(GATHER, 0.0, 4, id="as many as there is room for"),
        pytest.param(GATHER, 3 * GATHER, 4, id="though each takes longer to write than is waited"),
    ],
)
async def test_what_is_there_at_once_is_leased_at_once(
    gather: float, seconds: float, handed_out: int
) -> None:
    queue = Queue()
    door = CallDispatcher(
        cast("ActivityTaskClient", queue),
        cast("CallStore", Store(seconds)),
        InFlightJournal(None, "test"),
    )

    calls = await door.poll(
        "machine", [QUEUE], limit=4, wait=5, disconnected=asyncio.Event(), batch_seconds=gather
    )

    assert [call.id for call in calls] == [f"{QUEUE}-{number}" for number in range(handed_out)]
    await door.aclose()
    assert len(queue.requeued) <= 1, "what came when nobody waited any more"
