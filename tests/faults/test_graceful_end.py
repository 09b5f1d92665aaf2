"""An API that is asked to end closes what it holds, and takes no call with it."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest

from api.dispatch.dispatcher import CallDispatcher
from orchestrator.store.store import Store, open_store
from orchestrator.temporal.activity_tasks import POLL_TIMEOUT, ActivityTaskClient
from orchestrator.temporal.client import Temporal
from orchestrator.temporal.in_flight_journal import InFlightJournal
from tests.faults.ground.ground import laid_out
from tests.support.running_stack import until

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("processes")]
IMMEDIATE_SECONDS = POLL_TIMEOUT.total_seconds() / 2


async def test_an_api_that_is_asked_to_end_closes_its_store_first(tmp_path: Path) -> None:
    async with laid_out(tmp_path, parts=("api",)) as ground:
        log = tmp_path / "perdure.db-wal"
        assert log.exists(), "the API has the store open"
        ground["api"].signal(signal.SIGTERM)
        assert await ground["api"].died() == -signal.SIGTERM
        assert not log.exists(), "the last one who closes the store takes its log away"


async def test_a_dispatcher_that_closes_ends_its_polls_at_once_and_loses_no_call(
    tmp_path: Path,
) -> None:
    async with laid_out(tmp_path, parts=("api", "functions", "workers")) as ground:
        store = await open_store(ground.database_url)
        temporal = Temporal(ground.settings())
        door = CallDispatcher(
            ActivityTaskClient(temporal, "closing"), store.calls, InFlightJournal(None, "")
        )
        try:
            await _close_under_a_machine(ground.tenant.cluster_id, door, store)
            async with ground.client() as client:
                run = await ground.create(client, "after", steps=1)
                done = await run.poll(timeout=60)
                starts = [e async for e in run.events() if e.type == "call.started"]
            assert done.result == "all 1 steps done"
            assert [start.data["attempt"] for start in starts] == [1]
        finally:
            await store.aclose()


async def _close_under_a_machine(cluster_id: str, door: CallDispatcher, store: Store) -> None:
    """A machine waits at the door for calls of `work`; it leaves, and the door closes."""
    gone = asyncio.Event()
    queue = f"{cluster_id}/faults/work"
    machine = asyncio.create_task(door.poll("m1", [queue], limit=1, wait=20, disconnected=gone))
    await until(lambda: door.is_waiting("m1"))
    gone.set()
    assert await machine == []
    began = time.monotonic()
    await door.aclose()
    assert time.monotonic() - began < IMMEDIATE_SECONDS
