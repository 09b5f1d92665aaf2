"""Runs that wait for people: decisions that race, what the workflow receives, other pauses, and many of them."""

from __future__ import annotations

import asyncio
import time

import pytest
from sqlalchemy import String, Table, cast, insert, select

from orchestrator.errors import ConflictError, SupersededError
from orchestrator.llm.messages import UserTurn
from orchestrator.llm.transcript import turns
from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from orchestrator.store.calls.outcomes import Completed
from orchestrator.store.records import CallRecord
from orchestrator.workflows.interface import CallOutcome, CallRef, TimedOutCall
from perdure.contract import PausedFor, ResultType, RunStatus
from tests.orchestrator.store.calls.waiting_calls import (
    MARKED,
    NO,
    TWO_CALLS,
    YES,
    called,
    decide,
    marked_call,
    refusal,
    request_approval,
    run_state,
    shown_results,
    waiting_call,
)
from tests.support.stage import Stage, text_of

calls, runs = tables.calls, tables.runs


# -- races -----------------------------------------------------------------------------------------


async def test_of_two_people_one_decides(stage: Stage, elsewhere: Stage) -> None:
    for _ in range(5):
        ref, call_id = await waiting_call(stage)
        said = await asyncio.gather(
            decide(stage, call_id, YES), decide(elsewhere, call_id, NO), return_exceptions=True
        )
        assert sorted(type(one).__name__ for one in said) == ["CallRecord", "ConflictError"]
        row = await stage.call_row(call_id)
        assert row["approved"] is isinstance(said[0], CallRecord)
        types = await stage.event_types(ref)
        assert types.count("call.approved") + types.count("call.denied") == 1


async def test_of_a_person_and_time_one_decides(stage: Stage, elsewhere: Stage) -> None:
    for _ in range(5):
        ref, call_id = await waiting_call(stage)
        await stage.alter(calls, calls.c.id == call_id, approval_expires_at=now_ms() + 15)
        decided = asyncio.create_task(decide(stage, call_id, YES))
        expired = False
        async with asyncio.timeout(10):
            while not expired and not decided.done():
                expired = await elsewhere.store.approvals.expire(stage.cluster_id, call_id)
        await asyncio.wait([decided])
        if not expired:  # whoever is too late may hear so before time has decided
            expired = await elsewhere.store.approvals.expire(stage.cluster_id, call_id)
        assert (decided.exception() is None) is not expired
        types = await stage.event_types(ref)
        assert types.count("call.approved") + types.count("call.denied") == 1


async def test_of_two_last_decisions_one_resumes_the_run(stage: Stage, elsewhere: Stage) -> None:
    ref, orders = await called(stage, *TWO_CALLS)
    for order, machine in zip(orders, ("m1", "m2"), strict=True):
        await stage.lease(ref, order.call_id, machine)
        await request_approval(stage, order.call_id, machine=machine)
    await asyncio.gather(decide(stage, orders[0].call_id), decide(elsewhere, orders[1].call_id, NO))
    moves = [event["status"] for event in await stage.events(ref, "run.status")]
    assert moves == ["running", "paused", "running"]


async def test_a_cancel_and_a_decision_leave_one_truth(stage: Stage, elsewhere: Stage) -> None:
    ref, call_id = await waiting_call(stage)
    said = await asyncio.gather(
        decide(stage, call_id), elsewhere.store.runs.cancel(ref, "enough"), return_exceptions=True
    )
    run = await stage.get_run(ref)
    if isinstance(said[0], ConflictError):
        assert run.run_status is RunStatus.CANCELLED
    else:
        assert run.cancel_reason == "enough"
        assert (await run_state(stage, ref)).status == "cancelled"


# -- the workflow's side ---------------------------------------------------------------------------


async def test_reading_requests_brings_what_was_approved_and_nothing_else(stage: Stage) -> None:
    ref, orders = await called(stage, *TWO_CALLS)
    await stage.lease(ref, orders[0].call_id)
    await stage.lease(ref, orders[1].call_id, "m2")
    assert (await stage.store.calls.read_pending_requests(ref)).orders == []
    await request_approval(stage, orders[0].call_id)
    seen = await stage.store.calls.read_pending_requests(ref)
    assert seen.settled == [CallOutcome(orders[0].call_id, interrupted=True)]
    assert seen.orders == []
    await decide(stage, orders[0].call_id)
    (order,) = (await stage.store.calls.read_pending_requests(ref)).orders
    assert order.activity_id == f"{orders[0].call_id}:1"
    await stage.lease(ref, orders[0].call_id)
    assert (await stage.store.calls.read_pending_requests(ref)).orders == []


async def test_a_cancel_of_a_waiting_call_lets_the_run_go_on(stage: Stage) -> None:
    ref, call_id = await waiting_call(stage)
    await stage.store.calls.cancel(stage.cluster_id, call_id, "not needed")
    assert (await stage.get_run(ref)).run_status is RunStatus.RUNNING
    assert await refusal(stage, call_id) == "approval_closed"


async def test_an_edit_closes_what_waits(stage: Stage) -> None:
    ref, call_id = await waiting_call(stage)
    (first, *_) = await stage.store.messages.page(ref, after=0, limit=1)
    await stage.store.rewind.edit(ref, first.id, "something else")
    assert (await stage.get_run(ref)).run_status is RunStatus.RUNNING
    assert await refusal(stage, call_id) == "approval_closed"
    assert (await stage.begin_step(ref)).entries[-1].data == {"message": "something else"}


async def test_reading_requests_of_a_run_that_has_ended_reports_it(stage: Stage) -> None:
    ref, _ = await waiting_call(stage)
    assert not (await stage.store.calls.read_pending_requests(ref)).over
    await stage.store.runs.cancel(ref, "enough")
    seen = await stage.store.calls.read_pending_requests(ref)
    assert (seen.over, seen.cancel_wanted) == (True, False)


async def test_a_lease_that_comes_before_the_decision_ends_its_activity(stage: Stage) -> None:
    """The process that took the request died before it notified Temporal, which offers the call again."""
    ref, call_id = await waiting_call(stage)
    given = await stage.store.calls.lease(CallRef(ref, call_id), "m2", b"other")
    assert given == Completed(CallOutcome(call_id, interrupted=True))


async def test_what_timed_out_in_temporal_before_the_decision_counts_no_more(stage: Stage) -> None:
    ref, call_id = await waiting_call(stage)
    await stage.begin(ref, lost=[TimedOutCall(call_id, "too slow")])
    assert (await stage.call_row(call_id))["status"] == "interrupted"
    await decide(stage, call_id)
    await stage.begin(ref, lost=[TimedOutCall(call_id, "too slow")])
    assert (await stage.call_row(call_id))["status"] == "pending"
    await stage.begin(ref, lost=[TimedOutCall(call_id, "too slow", 1)])
    assert (await stage.call_row(call_id))["status"] == "failure"


async def test_a_follow_up_to_a_failed_run_asks_for_the_approval_before_the_model(
    stage: Stage,
) -> None:
    ref, call_id = await waiting_call(stage)
    await stage.alter(runs, runs.c.id == ref.run_id, status="failed", paused_for=None)
    await stage.send(ref, "go on")
    again = await run_state(stage, ref)
    assert (again.status, again.orders) == ("paused", [])
    await decide(stage, call_id, NO)
    ((_, content),) = await shown_results(stage, ref)
    assert content == "This call was denied by a person: too much"


async def test_a_run_paused_for_another_reason_makes_no_calls(stage: Stage) -> None:
    ref, _ = await called(stage, *TWO_CALLS, config=MARKED)
    await stage.alter(runs, runs.c.id == ref.run_id, paused_for=PausedFor.BUDGET.value)
    rests = await run_state(stage, ref)
    assert (rests.status, rests.orders) == ("paused", [])


async def test_a_run_that_waits_for_people_takes_messages_in_between(stage: Stage) -> None:
    ref, call_id = await waiting_call(stage)
    await stage.send(ref, "are you there?")
    assert (await run_state(stage, ref)).status == "paused"
    await decide(stage, call_id)
    await stage.lease(ref, call_id)
    await stage.finish(call_id, "paid")
    question = await stage.begin_step(ref)
    last = turns(question.entries)[-1]
    assert isinstance(last, UserTurn)
    assert (last.results[0].content, last.texts) == ("paid", ("are you there?",))
    assert (await stage.record(question, text_of("yes"))).status == "done"


# -- listed ----------------------------------------------------------------------------------------


async def test_what_waits_is_listed_first_come_first_page_by_page(stage: Stage) -> None:
    waiting = [await waiting_call(stage) for _ in range(3)]
    store = stage.store.approvals
    first = await store.page(stage.cluster_id, after=0, limit=2)
    assert [one.call.id for one in first] == [call_id for _, call_id in waiting[:2]]
    (last,) = await store.page(stage.cluster_id, after=first[-1].call.key, limit=2)
    assert (last.run_id, last.run_name) == (waiting[2][0].run_id, "a run")
    assert await store.page("another", after=0, limit=9) == []
    await decide(stage, waiting[0][1])
    assert len(await store.page(stage.cluster_id, after=0, limit=9)) == 2


async def test_the_kind_of_result_is_stored_for_a_late_request(stage: Stage) -> None:
    ref, orders = await called(stage)
    await stage.lease(ref, orders[0].call_id)
    await stage.store.runs.cancel(ref, "enough")
    await run_state(stage, ref)
    with pytest.raises(SupersededError):
        await request_approval(stage, orders[0].call_id)
    row = await stage.call_row(orders[0].call_id)
    assert row["result_type"] == ResultType.INTERRUPT.value


async def test_a_decision_does_not_end_a_pause_for_another_reason(stage: Stage) -> None:
    ref, call_id = await marked_call(stage)
    of_run = runs.c.id == ref.run_id
    await stage.alter(runs, of_run, paused_for=PausedFor.BUDGET.value)
    await decide(stage, call_id)
    assert (await stage.get_run(ref)).run_status is RunStatus.PAUSED
    assert (await stage.store.calls.read_pending_requests(ref)).orders == []
    await stage.store.runs.resume(ref)
    (order,) = (await run_state(stage, ref)).orders
    assert order.call_id == call_id


async def test_what_still_waits_after_another_pause_pauses_the_run_again(stage: Stage) -> None:
    ref, call_id = await marked_call(stage)
    await stage.alter(runs, runs.c.id == ref.run_id, paused_for=PausedFor.BUDGET.value)
    await stage.store.runs.resume(ref)
    assert (await run_state(stage, ref)).status == "paused"
    assert (await stage.get_run(ref)).paused_for == PausedFor.APPROVAL.value
    await decide(stage, call_id)
    assert (await stage.get_run(ref)).run_status is RunStatus.RUNNING


async def test_a_run_that_waits_for_people_is_not_resumed_without_them(stage: Stage) -> None:
    ref, _ = await waiting_call(stage)
    with pytest.raises(ConflictError) as refused:
        await stage.store.runs.resume(ref)
    assert refused.value.code == "approval_needed"


async def _copy(stage: Stage, table: Table, number: int) -> None:
    """As many rows again, with keys and ids of their own."""
    new = {name: table.c[name] + number for name in ("key", "run_key") if name in table.c}
    row = [new.get(column.name, column) for column in table.c]
    row[list(table.c).index(table.c.id)] = cast(table.c.key + number, String)
    async with stage.store.database.write() as write:
        await write.execute(insert(table).from_select(list(table.c), select(*row)))


async def test_among_ten_thousand_waiting_runs_one_wakes_within_a_second(stage: Stage) -> None:
    ref, call_id = await waiting_call(stage)
    for doubled in range(14):
        await _copy(stage, runs, 2**doubled)
        await _copy(stage, calls, 2**doubled)
    began = time.monotonic()
    await decide(stage, call_id)
    assert (await run_state(stage, ref)).orders
    assert await stage.store.approvals.overdue() == []
    assert await stage.store.sweeps.runs_with_unread_requests(now_ms() - 2_000) == []
    assert len(await stage.store.approvals.page(stage.cluster_id, after=0, limit=50)) == 50
    assert time.monotonic() - began < 1
