"""What two features do to each other: found by the walks in `tests/orchestrator/store/walks`, each kept here as one short story."""

from __future__ import annotations

import pytest

from orchestrator.errors import SupersededError
from orchestrator.llm.messages import UserTurn
from orchestrator.llm.transcript import turns
from orchestrator.rules.lifecycle import Trigger
from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from orchestrator.workflows.interface import RunState, TimedOutCall
from perdure.contract import ApprovalRequest, FunctionConfig
from tests.orchestrator.store.conversation.conversations import first_id, prompt_turns
from tests.orchestrator.store.conversation.test_rewind_walks import check
from tests.support.stage import Stage, text_of


async def test_going_back_to_a_message_keeps_the_results_that_its_reply_waited_for(
    stage: Stage,
) -> None:
    """The message came while the calls were made: their results are written behind it and stand before it."""
    await stage.register("query")
    ref = await stage.run()
    first, second = await stage.called(ref, "sales_query", "sales_query")
    message = await stage.send(ref, "and hurry")
    await stage.lease_and_finish(ref, first.call_id, "1")
    await stage.store.rewind.retry(ref, message.id)
    await stage.lease_and_finish(ref, second.call_id, "2")
    conversation = await prompt_turns(stage, ref)
    check(conversation)
    assert isinstance(conversation[-1], UserTurn)
    assert [result.content for result in conversation[-1].results] == ["1", "2"]
    assert conversation[-1].texts == ("and hurry",)


async def test_calls_are_closed_in_the_turn_that_going_back_begins(stage: Stage) -> None:
    """Nothing is done on a run that has ended: the next turn comes first."""
    await stage.register("query")
    ref = await stage.run()
    await stage.called(ref)
    await stage.store.runs.end_turn(ref, Trigger.FAIL, "the store was away")
    await stage.store.rewind.edit(ref, await first_id(stage, ref), "go slowly")
    types = await stage.event_types(ref)
    assert types[types.index("call.finished") - 1 :] == [
        "run.status",
        "call.finished",
        "message.edited",
    ]


async def test_a_result_that_came_late_answers_the_call_in_the_next_turn(stage: Stage) -> None:
    """A provider refuses a conversation in which a call has no answer."""
    await stage.register("query")
    ref = await stage.run()
    orders = await stage.called(ref, "sales_query", "sales_query", "sales_query")
    for order in orders:
        await stage.lease(ref, order.call_id)
    await stage.store.runs.end_turn(ref, Trigger.FAIL, "the store was away")
    result, long, request = (order.call_id for order in orders)
    with pytest.raises(SupersededError):
        await stage.finish(result, "1")
    with pytest.raises(SupersededError):
        await stage.finish(long, "x" * 20_000)
    with pytest.raises(SupersededError):
        await stage.store.approvals.request(
            stage.cluster_id, request, "m1", None, ApprovalRequest()
        )
    await stage.send(ref, "and now?")
    conversation = await prompt_turns(stage, ref)
    check(conversation)
    last = conversation[-1]
    assert isinstance(last, UserTurn)
    assert [(one.is_error, one.content[:8]) for one in last.results] == [
        (False, "1"),
        (False, "xxxxxxxx"),
        (True, "The run "),
    ]
    assert (await stage.think(ref, text_of("ended"))).status == "done"


async def test_a_call_that_was_lost_when_the_run_had_ended_waits_for_the_next_turn(
    stage: Stage,
) -> None:
    await stage.register("query")
    ref = await stage.run(deadline_at=now_ms() + 60_000)
    (order,) = await stage.called(ref)
    await stage.alter(tables.runs, tables.runs.c.id == ref.run_id, deadline_at=now_ms() - 1)
    assert await stage.store.deadlines.fail(ref) is True
    await stage.begin(ref, lost=[TimedOutCall(order.call_id, "deadline")])
    assert (await stage.event_types(ref))[-1] == "run.status"
    assert (await stage.call_row(order.call_id))["result_type"] is None


async def test_a_reply_to_a_result_that_was_withdrawn_does_not_count(stage: Stage) -> None:
    """The model was shown the result before Temporal refused it: its call is made again, then it is asked again."""
    await stage.register("query", config=FunctionConfig(retries=1))
    ref = await stage.run()
    (order,) = await stage.called(ref)
    finished = await stage.lease_and_finish(ref, order.call_id, "old")
    question = await stage.begin_step(ref)
    await stage.store.calls.supersede(finished.call)
    state = await stage.record(question, text_of("the answer"))
    assert [one.call_id for one in state.orders] == [order.call_id]
    assert (await stage.store.calls.read_pending_requests(ref)).rewound
    await stage.lease_and_finish(ref, order.call_id, "new")
    conversation = await prompt_turns(stage, ref)
    check(conversation)
    assert isinstance(conversation[-1], UserTurn)
    assert [result.content for result in conversation[-1].results] == ["new"]


async def test_a_summary_that_comes_after_the_end_is_made_again_in_the_next_turn(
    stage: Stage,
) -> None:
    await stage.register("query")
    ref = await stage.run()
    (order,) = await stage.called(ref)
    await stage.lease_and_finish(ref, order.call_id, "x" * 20_000)
    await stage.store.runs.end_turn(ref, Trigger.FAIL, "the store was away")
    await stage.store.results.show_summary(ref, order.call_id, "much", 20_000)
    assert (await stage.event_types(ref))[-1] == "run.status"
    await stage.send(ref, "and now?")
    state = await stage.begin(ref)
    assert isinstance(state, RunState)
    assert (state.status, state.oversized) == ("running", [order.call_id])
    await stage.store.results.show_summary(ref, order.call_id, "much", 20_000)
    check(turns((await stage.begin_step(ref)).entries))


async def test_a_turn_that_begins_with_open_calls_is_under_way(stage: Stage) -> None:
    """Only a run that runs can say that it waits for a function worker, and counts for `concurrency`."""
    await stage.register("query")
    ref = await stage.run()
    (order,) = await stage.called(ref)
    await stage.store.runs.end_turn(ref, Trigger.FAIL, "the store was away")
    await stage.send(ref, "and now?")
    state = await stage.begin(ref)
    assert isinstance(state, RunState)
    assert (state.status, [one.call_id for one in state.orders]) == (
        "running",
        [order.call_id],
    )


async def test_a_lease_that_is_released_after_the_end_is_no_event(stage: Stage) -> None:
    await stage.register("query", heartbeats=False)
    ref = await stage.run()
    (order,) = await stage.called(ref)
    await stage.lease(ref, order.call_id)
    await stage.alter(tables.calls, tables.calls.c.id == order.call_id, handed_out_at=1)
    await stage.store.runs.end_turn(ref, Trigger.FAIL, "the store was away")
    (lost,) = await stage.store.lost_leases.find_unconfirmed()
    assert await stage.store.lost_leases.release(lost)
    assert (await stage.event_types(ref))[-1] == "run.status"
