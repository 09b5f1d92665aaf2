"""Runs that are deleted: nothing of them stays but what they cost, and nobody who still works for them is taken in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import insert

from orchestrator.errors import NotFoundError
from orchestrator.rules.lifecycle import Trigger
from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from orchestrator.store.calls.outcomes import Discarded
from orchestrator.store.tenants.usage import DAY_MS
from orchestrator.workflows.interface import CallRef, RunRef, RunState
from tests.support.stage import HANDLER, Stage, calls_for, text_of

_OF_RUNS = [table for table in tables.metadata.sorted_tables if "run_key" in table.c]
_WHAT_STAYS = {
    "alembic_version",
    "clusters",
    "functions",
    "machines",
    "registrations",
    "usage_days",
}


async def _busy(stage: Stage) -> tuple[RunRef, str]:
    """A run with a row in every table that belongs to runs; its call, which a machine holds."""
    await stage.register("query", "announce")
    ref = await stage.run(metadata={"team": "sales"}, tags=["a"], on_status_change=HANDLER)
    (first,) = await stage.called(ref)
    await stage.lease_and_finish(ref, first.call_id)
    (second,) = await stage.called(ref)
    await stage.lease(ref, second.call_id)
    row = await stage.call_row(first.call_id)
    async with stage.store.database.write() as write:
        await write.execute(
            insert(tables.blobs).values(
                id="blob",
                run_key=row["run_key"],
                call_key=row["key"],
                cluster_id=stage.cluster_id,
                name="picture",
                type="image/png",
                encoding="base64",
                size=1,
                content="AA==",
                created_at=0,
            )
        )
    return ref, second.call_id


async def test_everything_of_a_run_goes_with_it(stage: Stage) -> None:
    ref, _ = await _busy(stage)
    assert {table.name for table in _OF_RUNS if not await stage.rows(table)} == set()
    await stage.store.deletion.delete(ref)
    left = {table.name for table in tables.metadata.sorted_tables if await stage.rows(table)}
    assert left <= _WHAT_STAYS
    assert "usage_days" in left


async def test_another_run_keeps_everything(stage: Stage) -> None:
    ref, other = await stage.finished(), await stage.finished()
    before = await stage.get_run(other), await stage.messages(other), await stage.events(other)
    await stage.store.deletion.delete(ref)
    assert (
        await stage.get_run(other),
        await stage.messages(other),
        await stage.events(other),
    ) == before


async def test_what_is_deleted_cannot_be_deleted_again(stage: Stage) -> None:
    ref = await stage.finished()
    for foreign in (RunRef("another-cluster", ref.run_id), RunRef(stage.cluster_id, "no-run")):
        with pytest.raises(NotFoundError):
            await stage.store.deletion.delete(foreign)
    await stage.store.deletion.delete(ref)
    with pytest.raises(NotFoundError):
        await stage.store.deletion.delete(ref)


async def test_what_was_spent_stays_spent(stage: Stage) -> None:
    """Over two runs and two days, added to what deleted runs had used before."""
    runs = [await stage.finished(), await stage.finished()]
    await stage.send(runs[1], "more")
    await stage.think(runs[1], text_of("more"))
    yesterday = now_ms() - DAY_MS
    await stage.alter(tables.steps, tables.steps.c.step == 2, created_at=yesterday)
    before = await stage.store.usage.days(stage.cluster_id, since=0)
    for ref in runs:
        await stage.store.deletion.delete(ref)
    assert await stage.rows(tables.steps) == []
    after = await stage.store.usage.days(stage.cluster_id, since=0)
    assert after == before
    assert sorted(usage.model_calls for usage in after if usage.model_calls) == [1, 2]
    assert sum(usage.runs for usage in after) == 2


async def test_a_run_of_the_same_id_can_be_made_anew(stage: Stage) -> None:
    ref = await stage.finished(id="again", idempotency_key="key", request_hash="one")
    await stage.store.deletion.delete(ref)
    anew = await stage.run(id="again", idempotency_key="key", request_hash="two")
    assert anew == ref
    assert (await stage.get_run(anew)).status == "pending"


# -- those who still work for it -------------------------------------------------------------------


async def test_a_machine_that_holds_a_call_learns_that_it_is_gone(stage: Stage) -> None:
    ref, call_id = await _busy(stage)
    await stage.store.deletion.delete(ref)
    assert await stage.acknowledge(call_id) is False
    for asked in (stage.get_lease(call_id), stage.finish(call_id)):
        with pytest.raises(NotFoundError):
            await asked


async def test_a_call_of_a_deleted_run_is_leased_to_nobody(stage: Stage) -> None:
    ref, call_id = await _busy(stage)
    await stage.store.deletion.delete(ref)
    given = await stage.store.calls.lease(CallRef(ref, call_id), "m2", b"token")
    assert isinstance(given, Discarded)


async def test_the_sweeper_finds_nothing_to_do_for_it(stage: Stage) -> None:
    ref, _ = await _busy(stage)
    await stage.send(ref, "and then?")
    waiting = await stage.store.sweeps.calls_without_worker(now_ms() + 1_000_000)
    await stage.store.deletion.delete(ref)
    later = now_ms() + 1_000
    assert await stage.store.sweeps.runs_with_unread_requests(later) == []
    assert (await stage.store.sweeps.undelivered_runs(later, after=0)).refs == []
    assert await stage.store.deliveries.list_pending(ref, []) == []
    assert [await stage.store.sweeps.report_waiting(call) for call in waiting] == [None] * len(
        waiting
    )


async def test_whoever_waits_for_a_run_is_woken_by_its_deletion(
    stage: Stage, elsewhere: Stage
) -> None:
    ref = await stage.finished()
    run = await stage.get_run(ref)
    here = asyncio.create_task(stage.store.feed.wait(run.key, run.version, 30))
    there = asyncio.create_task(elsewhere.store.feed.wait(run.key, run.version, 30))
    await stage.store.deletion.delete(ref)
    async with asyncio.timeout(10):
        assert list(await asyncio.gather(here, there)) == [0, 0]


_Move = Callable[[Stage, RunRef, str], Awaitable[object]]


async def _record(stage: Stage, ref: RunRef, _: str) -> object:
    question = await stage.begin(ref)
    if isinstance(question, RunState):
        return question
    return await stage.record(question, calls_for("sales_query"))


_MOVES: dict[str, _Move] = {
    "record": _record,
    "send": lambda stage, ref, _: stage.send(ref, "more"),
    "edit": lambda stage, ref, _: stage.store.rewind.retry(ref, None),
    "cancel": lambda stage, ref, _: stage.store.runs.cancel(ref, "enough"),
    "settle": lambda stage, ref, _: stage.store.runs.end_turn(ref, Trigger.FAIL, "why"),
    "finish": lambda stage, _, call_id: stage.finish(call_id),
    "lease": lambda stage, _, call_id: stage.get_lease(call_id),
    "look": lambda stage, ref, _: stage.store.calls.read_pending_requests(ref),
    "feedback": lambda stage, ref, _: stage.store.feedback.set(ref, "good", 1.0),
    "delete": lambda stage, ref, _: stage.store.deletion.delete(ref),
    "outdated": lambda stage, ref, _: stage.store.deletion.delete_outdated(ref, 0),
}


@pytest.mark.parametrize("move", _MOVES)
async def test_nothing_brings_a_run_back_that_is_deleted_meanwhile(
    stage: Stage, elsewhere: Stage, move: str
) -> None:
    ref, call_id = await _busy(stage)
    _, other = await asyncio.gather(
        stage.store.deletion.delete(ref),
        _MOVES[move](elsewhere, ref, call_id),
        return_exceptions=True,
    )
    assert not isinstance(other, BaseException) or isinstance(other, NotFoundError)
    for table in _OF_RUNS:
        assert await stage.rows(table) == []


# -- retention -------------------------------------------------------------------------------------


async def test_only_runs_that_ended_long_ago_are_outdated(stage: Stage) -> None:
    old, young, revived = [await stage.finished() for _ in range(3)]
    open_run = await stage.run()
    before = now_ms() - 1_000
    await stage.alter(tables.runs, tables.runs.c.id == old.run_id, finished_at=before - 2)
    await stage.alter(tables.runs, tables.runs.c.id == revived.run_id, finished_at=before - 1)
    assert await stage.store.deletion.outdated(before) == [old, revived]
    await stage.send(revived, "one more thing")
    assert await stage.store.deletion.outdated(before) == [old]
    deleted = [
        await stage.store.deletion.delete_outdated(ref, before)
        for ref in (old, young, revived, open_run, old)
    ]
    assert deleted == [True, False, False, False, False]
    assert {row["id"] for row in await stage.rows(tables.runs)} == {
        young.run_id,
        revived.run_id,
        open_run.run_id,
    }


async def test_a_handler_at_work_on_a_deleted_runs_transition_learns_it(stage: Stage) -> None:
    await stage.register("announce")
    ref = await stage.finished(on_status_change=HANDLER)
    (order, *_) = await stage.store.deliveries.list_pending(ref, [])
    await stage.lease(ref, order.call_id)
    await stage.store.deletion.delete(ref)
    with pytest.raises(NotFoundError):
        await stage.finish(order.call_id)
