"""Going back in a conversation while others act: replies, results, cancels, other edits, people who decide."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select

from orchestrator.errors import ConflictError, SupersededError
from orchestrator.llm.messages import UserTurn
from orchestrator.store import tables
from orchestrator.store.calls.approvals import Decision
from orchestrator.store.database.json_columns import object_from_json
from orchestrator.workflows.interface import RunState
from perdure.contract import FunctionConfig
from tests.orchestrator.store.conversation.conversations import first_id, prompt_turns, rows_of
from tests.support.stage import Stage, calls_for, text_of

# -- approvals -------------------------------------------------------------------------------------


async def test_an_approval_that_was_replaced_is_closed_and_holds_nobody_up(stage: Stage) -> None:
    await stage.register("pay", config=FunctionConfig(requires_approval=True))
    ref = await stage.run()
    await stage.think(ref, calls_for("sales_pay"))
    (pending,) = await stage.store.approvals.page(stage.cluster_id, after=0, limit=9)
    await stage.store.rewind.edit(ref, await first_id(stage, ref), "pay nothing")
    run = await stage.get_run(ref)
    assert (run.status, run.paused_for, run.paused_reason) == ("running", None, None)
    assert await stage.store.approvals.page(stage.cluster_id, after=0, limit=9) == []
    with pytest.raises(ConflictError) as caught:
        await stage.store.approvals.decide(
            stage.cluster_id, pending.call.id, Decision(approved=True, by="somebody")
        )
    assert caught.value.code == "approval_closed"
    assert await prompt_turns(stage, ref) == (UserTurn((), ("pay nothing",)),)


async def test_an_approval_that_did_not_know_the_message_is_still_waited_for(stage: Stage) -> None:
    await stage.register("pay", config=FunctionConfig(requires_approval=True))
    ref = await stage.run()
    question = await stage.begin_step(ref)
    queued = await stage.send(ref, "one more thing")
    await stage.record(question, calls_for("sales_pay"))
    await stage.store.rewind.edit(ref, queued.id, "nothing more")
    run = await stage.get_run(ref)
    assert (run.status, run.paused_for) == ("paused", "approval")
    assert len(await stage.store.approvals.page(stage.cluster_id, after=0, limit=9)) == 1


# -- races -----------------------------------------------------------------------------------------


async def test_an_edit_and_a_reply_at_once_leave_one_conversation(
    stage: Stage, elsewhere: Stage
) -> None:
    """Whoever comes first: afterwards the model is to be asked about the new text and nothing else."""
    for _ in range(5):
        ref = await stage.run()
        question = await stage.begin_step(ref)
        message_id = await first_id(stage, ref)
        edit = asyncio.create_task(elsewhere.store.rewind.edit(ref, message_id, "go slowly"))
        await asyncio.gather(edit, stage.record(question, text_of("quickly")))
        run = await stage.get_run(ref)
        assert (run.status, run.turn) in {("running", 1), ("pending", 2)}
        assert await prompt_turns(stage, ref) == (UserTurn((), ("go slowly",)),)


async def test_an_edit_and_a_result_at_once_leave_one_result(
    stage: Stage, elsewhere: Stage
) -> None:
    await stage.register("query")
    for _ in range(5):
        ref = await stage.run()
        (order,) = await stage.called(ref)
        await stage.lease(ref, order.call_id)
        message_id = await first_id(stage, ref)
        edit = asyncio.create_task(elsewhere.store.rewind.edit(ref, message_id, "go slowly"))
        _, posted = await asyncio.gather(edit, stage.finish(order.call_id), return_exceptions=True)
        results = select(tables.call_results).join(
            tables.calls, tables.calls.c.key == tables.call_results.c.call_key
        )
        async with stage.store.database.read() as read:
            kept = (await read.execute(results.where(tables.calls.c.id == order.call_id))).all()
        assert len(kept) == 1
        won = not isinstance(posted, SupersededError)
        assert (kept[0].content == '"ok"') is won
        assert await prompt_turns(stage, ref) == (UserTurn((), ("go slowly",)),)


async def test_two_edits_at_once_are_one_after_the_other(stage: Stage, elsewhere: Stage) -> None:
    ref = await stage.finished()
    message_id = await first_id(stage, ref)
    await asyncio.gather(
        stage.store.rewind.edit(ref, message_id, "one"),
        elsewhere.store.rewind.edit(ref, message_id, "two"),
    )
    run = await stage.get_run(ref)
    (current,) = await rows_of(stage, ref, replaced=False)
    assert (run.rewinds, run.turn, current.id) == (2, 2, message_id)
    assert object_from_json(current.data)["message"] in {"one", "two"}
    assert len(await rows_of(stage, ref, replaced=True)) == 3


async def test_an_edit_and_a_cancel_at_once_never_leave_the_run_between(
    stage: Stage, elsewhere: Stage
) -> None:
    for _ in range(5):
        ref = await stage.run()
        await stage.begin_step(ref)
        edit = asyncio.create_task(
            elsewhere.store.rewind.edit(ref, await first_id(stage, ref), "go slowly")
        )
        await asyncio.gather(edit, stage.store.runs.cancel(ref, "enough"), return_exceptions=True)
        state = await stage.begin(ref)
        assert isinstance(state, RunState)
        assert state.status == "cancelled"
