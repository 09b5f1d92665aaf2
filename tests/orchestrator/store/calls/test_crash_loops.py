"""A hosted function whose processes die one after the other pauses, for all processes and over all their deaths."""

from __future__ import annotations

import asyncio
import logging

import pytest

from orchestrator.rules.crash_loop import (
    FIRST_PAUSE,
    FREE_CRASHES,
    MAX_PAUSE,
    RESET_SECONDS,
    CrashLoopBackoff,
)
from orchestrator.store.calls.outcomes import AtCapacity, Completed, Leased
from orchestrator.store.calls.rows import task_queue_name
from perdure.contract import FunctionConfig
from tests.support.crashes import (
    backoffs,
    call_refs,
    die,
    die_often,
    go_by,
    known,
    new_machine,
    taken,
)
from tests.support.stage import Stage

QUERY = "sales_query"


@pytest.fixture(autouse=True)
async def registered(stage: Stage) -> None:
    await stage.register("query", "look", config=FunctionConfig(retries=5))


async def test_the_next_call_waits_where_processes_died_in_a_row(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    await die_often(stage, QUERY, FREE_CRASHES)
    assert (await known(stage)).paused_until == 0
    with caplog.at_level(logging.WARNING):
        await die_often(stage, QUERY, 1)
    assert (
        "sales/query: 3 consecutive crashes without a result; its next call waits 2 s"
        in caplog.text
    )
    query = await known(stage)
    assert query.paused_until - query.last == FIRST_PAUSE
    assert (await known(stage, "look")).deaths == 0


async def test_a_call_that_was_lost_waits_at_no_cost_and_its_run_says_why(stage: Stage) -> None:
    await die_often(stage, QUERY, FREE_CRASHES + 2)
    (call_ref,) = await call_refs(stage, QUERY)
    await go_by(stage)
    await die(stage, call_ref)
    for token in (b"token", None):
        answer = await taken(stage, call_ref, token=token)
        assert isinstance(answer, AtCapacity)
        assert answer.seconds is not None
        assert 0 < answer.seconds <= MAX_PAUSE
    row = await stage.call_row(call_ref.call_id)
    assert (row["status"], row["attempts"], row["handouts"]) == ("pending", 1, 1)
    (waiting,) = await stage.events(call_ref.run, "run.waiting")
    assert waiting["detail"] == "The process of sales.query died 5 times in a row."
    assert (waiting["kind"], waiting["function"]) == ("function", "query")
    assert waiting["retryAt"] is not None
    await go_by(stage, MAX_PAUSE)
    assert isinstance(await taken(stage, call_ref), Leased)
    assert (await stage.get_run(call_ref.run)).waiting_for is None


async def test_a_new_call_is_checked_where_its_function_is_suspected(stage: Stage) -> None:
    await die_often(stage, QUERY, FREE_CRASHES + 3)
    (call_ref,) = await call_refs(stage, QUERY)
    assert isinstance(await taken(stage, call_ref, suspected=True), AtCapacity)
    other, _ = await call_refs(stage, "sales_look", QUERY)
    assert isinstance(await taken(stage, other, suspected=True), Leased)
    assert isinstance(await taken(stage, call_ref), Leased), "nothing more is asked by rule"


async def test_function_workers_are_the_apis_to_count(stage: Stage) -> None:
    (call_ref,) = await call_refs(stage, QUERY)
    for _ in range(FREE_CRASHES + 2):
        await stage.lease(call_ref.run, call_ref.call_id)
        await stage.store.lost_leases.release_all_of(stage.cluster_id, "m1")
    assert await stage.rows(backoffs) == []
    await die_often(stage, QUERY, FREE_CRASHES + 3)
    assert (await stage.lease(call_ref.run, call_ref.call_id)).attempt == FREE_CRASHES + 3


async def test_all_that_a_process_had_is_one_death_and_begins_again_in_turn(stage: Stage) -> None:
    for _ in range(FREE_CRASHES + 1):
        calls = await call_refs(stage, QUERY, QUERY, "sales_look")
        await go_by(stage)
        await die(stage, *calls)
    query, look = await known(stage), await known(stage, "look")
    assert (query.deaths, look.deaths) == (FREE_CRASHES + 1, FREE_CRASHES + 1)
    assert query.paused_until - look.paused_until == pytest.approx(1), (
        "whoever is alone shows what it does"
    )


async def test_a_death_that_only_a_silence_reveals_is_counted_once(stage: Stage) -> None:
    """As of a process elsewhere: its calls come back one by one, as their heartbeats are missed."""
    calls = [(await call_refs(stage, QUERY))[0] for _ in range(3)]
    machine = new_machine()
    for call_ref in calls:
        await taken(stage, call_ref, machine)
    for call_ref in calls:
        await go_by(stage)
        assert isinstance(await taken(stage, call_ref, "another"), Leased)
    assert (await known(stage)).deaths == 1
    assert isinstance(await taken(stage, calls[0], "another"), Leased)
    assert (await known(stage)).deaths == 1, "its own store was away, and it lives"


async def test_machines_that_die_together_are_recorded_at_once(stage: Stage) -> None:
    machines = [new_machine() for _ in range(4)]
    for machine in machines:
        for call_ref in await call_refs(stage, QUERY, "sales_look"):
            await taken(stage, call_ref, machine)
    take_from = stage.store.lost_leases.release_all_of
    await asyncio.gather(*(take_from(stage.cluster_id, each, hosted=True) for each in machines))
    assert ((await known(stage)).deaths, (await known(stage, "look")).deaths) == (1, 1)


async def test_a_silent_death_can_be_one_too_many(stage: Stage) -> None:
    await die_often(stage, QUERY, FREE_CRASHES + 2)
    (call_ref,) = await call_refs(stage, QUERY)
    await go_by(stage, MAX_PAUSE)
    await taken(stage, call_ref, "silent")
    await go_by(stage)
    assert isinstance(await taken(stage, call_ref, "another"), AtCapacity)
    row = await stage.call_row(call_ref.call_id)
    assert (row["status"], row["attempts"]) == ("pending", 1)
    assert await stage.events(call_ref.run, "call.lost") == [
        {"callId": call_ref.call_id, "attempt": 1, "machineId": "silent"}
    ]
    await taken(stage, call_ref, "another")
    assert (await known(stage)).deaths == FREE_CRASHES + 3


async def test_a_call_without_attempts_left_reports_its_death_too(stage: Stage) -> None:
    await stage.register("once", service="other", machine="m2")
    (call_ref,) = await call_refs(stage, "other_once")
    await taken(stage, call_ref, "silent")
    assert isinstance(await taken(stage, call_ref, "another"), Completed)
    assert (await known(stage, "once", "other")).deaths == 1


async def test_a_result_ends_it(stage: Stage) -> None:
    await die_often(stage, QUERY, FREE_CRASHES + 3)
    await stage.store.crash_loops.clear(task_queue_name(stage.cluster_id, "sales", "look"))
    assert (await known(stage)).deaths == FREE_CRASHES + 3
    await stage.store.crash_loops.clear(task_queue_name(stage.cluster_id, "sales", "query"))
    assert await known(stage) == CrashLoopBackoff()


async def test_what_is_long_ago_is_not_stored(stage: Stage) -> None:
    await die_often(stage, QUERY, FREE_CRASHES + 1)
    await go_by(stage, RESET_SECONDS + MAX_PAUSE)
    await die_often(stage, "sales_look", 1)
    assert [row["function"] for row in await stage.rows(backoffs)] == ["look"]


async def test_a_deleted_clusters_go_with_it(stage: Stage) -> None:
    await die_often(stage, QUERY, 1)
    await stage.store.clusters.delete(stage.cluster_id)
    assert await stage.rows(backoffs) == []
