"""A hosted function in which processes die is held back, over their deaths; what is hosted beside it goes on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import event
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.converter import PayloadConverter
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from typing_extensions import override

from orchestrator.rules.crash_loop import FREE_CRASHES, MAX_PAUSE, CrashLoopBackoff
from orchestrator.store.calls.crash_loops import CrashLoopStore
from orchestrator.store.calls.outcomes import Completed
from orchestrator.store.calls.rows import task_queue_name
from orchestrator.store.database.engine import Database
from orchestrator.temporal.activity_tasks import NOT_DELIVERED
from orchestrator.workflows.interface import CallRef
from perdure import Service
from tests.support.crashes import backoffs, call_refs, die_often, go_by
from tests.support.stage import Stage
from tests.workers.hosting.hosted import call, hosting_of, script, think
from workers.hosting.crash_loops import CrashLoopCache
from workers.hosting.host import HostedFunctions
from workers.hosting.task_queues import HostedFunctionActivity

BAD = "here_bad"


def _service() -> Service:
    service = Service("here")

    @service.function
    def good() -> str:
        """Return."""
        return "well"

    @service.function
    def bad(how: str = "well") -> str:
        """Return, or raise."""
        if how == "ill":
            raise ValueError(how)
        return how

    return service


class _Away(CrashLoopStore):
    @override
    async def clear(self, queue: str) -> None:
        raise OSError("the disk is full")


class _Read(CrashLoopStore):
    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.found = asyncio.Event()

    @override
    async def load_all(self, cluster_id: str) -> dict[str, CrashLoopBackoff]:
        known = await super().load_all(cluster_id)
        if known:
            self.found.set()
        return known


async def _after_deaths(stage: Stage, deaths: int) -> HostedFunctions:
    """The process that comes after those that died in the function."""
    hosting = hosting_of(stage, _service())
    async with hosting.registered():
        await die_often(stage, BAD, deaths)
    return hosting_of(stage, _service())


async def test_a_pausing_function_is_left_to_its_queue_and_the_one_beside_it_is_made(
    stage: Stage,
) -> None:
    hosting = await _after_deaths(stage, FREE_CRASHES + 3)
    async with hosting.registered():
        held = await stage.run(prompt=script(call("bad"), {"text": "done"}))
        state = await think(stage, hosting, held)
        assert (state.status, len(state.orders)) == ("running", 1)
        row = await stage.call_row(state.orders[0].call_id)
        assert (row["status"], row["handouts"], row["attempts"]) == ("pending", 0, 0)
        other = await stage.run(prompt=script(call("good"), {"text": "done"}))
        assert (await think(stage, hosting, other)).status == "done"
        await go_by(stage, MAX_PAUSE)
        await hosting._crash_loops.refresh()
        assert (await think(stage, hosting, held)).status == "done"
    assert await stage.rows(backoffs) == []


async def test_its_queue_has_it_come_again_when_the_pause_is_over(stage: Stage) -> None:
    hosting = await _after_deaths(stage, FREE_CRASHES + 3)
    async with hosting.registered():
        (call_ref,) = await call_refs(stage, BAD)
        with pytest.raises(ApplicationError) as raised:
            await _activity(hosting, call_ref)
        assert raised.value.type == NOT_DELIVERED
        assert raised.value.next_retry_delay is not None
        assert 1 < raised.value.next_retry_delay.total_seconds() <= MAX_PAUSE
        assert (await stage.get_run(call_ref.run)).waiting_for is not None


async def _activity(hosting: HostedFunctions, call_ref: CallRef) -> None:
    """The call's own activity, as Temporal has this process carry it out."""
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, started_time=datetime.now(UTC))
    payload: Payload = PayloadConverter.default.to_payload(call_ref)
    calls = HostedFunctionActivity(hosting, task_queue_name(hosting.cluster_id, "here", "bad"))
    await environment.run(calls.call, [RawValue(payload)])


@pytest.mark.parametrize("how", ["well", "ill"])
async def test_any_result_ends_the_suspicion(stage: Stage, how: str) -> None:
    hosting = await _after_deaths(stage, FREE_CRASHES)
    async with hosting.registered():
        ref = await stage.run(prompt=script(call("bad", how=how), {"text": "done"}))
        assert (await think(stage, hosting, ref)).status == "done"
        assert await stage.rows(backoffs) == []


async def test_a_death_that_another_process_noticed_is_known_here(stage: Stage) -> None:
    store = _Read(stage.store.database)
    loops = CrashLoopCache(store, stage.cluster_id)
    looking = asyncio.create_task(loops.run())
    await _after_deaths(stage, 1)
    await asyncio.wait_for(store.found.wait(), 30)
    looking.cancel()
    queue = task_queue_name(stage.cluster_id, "here", "bad")
    assert loops.is_suspect(queue)
    assert not loops.is_pausing(queue), "one death is spared"


async def test_who_is_under_no_suspicion_pays_nothing(stage: Stage) -> None:
    hosting, asked = hosting_of(stage, _service()), list[str]()
    async with hosting.registered():
        ref = await stage.run(prompt=script(call("bad"), {"text": "done"}))
        engine = stage.store.database.engine.sync_engine
        event.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
        assert (await think(stage, hosting, ref)).status == "done"
    assert any("functions" in statement for statement in asked), "what is not made once is seen"
    of_one = f"{backoffs.name}.service ="  # what the process reads by and by is of all
    assert not any(of_one in statement for statement in asked)


async def test_a_store_that_is_away_undoes_no_result(stage: Stage) -> None:
    hosting = await _after_deaths(stage, FREE_CRASHES)
    async with hosting.registered():
        (call_ref,) = await call_refs(stage, BAD)
        queue = task_queue_name(stage.cluster_id, "here", "bad")
        hosting._crash_loops._store = _Away(stage.store.database)
        assert isinstance(await hosting.run_attempt(call_ref, queue, b"token"), Completed)
    assert len(await stage.rows(backoffs)) == 1
