"""What a run's handle can do, against the real API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import JsonValue

from orchestrator.store import tables
from orchestrator.workflows.interface import RunRef
from perdure import (
    AsyncPerdure,
    AsyncRun,
    Budget,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PausedFor,
    RunStatus,
)
from perdure.contract import BlobType
from tests.support.stage import HANDLER, Stage, text_of


async def handle(client: AsyncPerdure, ref: RunRef) -> AsyncRun[JsonValue]:
    return await client.get_run(ref.run_id)


async def test_a_message_is_edited_and_what_it_replaced_is_stored(
    client: AsyncPerdure, stage: Stage
) -> None:
    run = await handle(client, ref := await stage.finished())
    first, answer = await run.messages()
    assert (await run.poll()).status is RunStatus.DONE
    edited = await run.edit_message(first, "go elsewhere")
    assert edited.data["message"] == "go elsewhere"
    assert [message.id for message in await run.messages()] == [edited.id]
    assert (await run.refresh()).status is RunStatus.PENDING
    replaced = [one for one in await run.messages(with_replaced=True) if one.replaced_by]
    assert {one.id for one in replaced} >= {answer.id}
    await stage.think(ref, text_of("another answer"))
    assert (await run.poll(timeout=5)).result == "another answer"
    with pytest.raises(ConflictError):
        await run.edit_message(answer.id, "not mine")
    with pytest.raises(InvalidRequestError):
        await run.edit_message(edited, "")


async def test_a_run_begins_again_from_its_last_message_or_another(
    client: AsyncPerdure, stage: Stage
) -> None:
    run = await handle(client, ref := await stage.finished())
    assert (await run.retry()).status is RunStatus.PENDING
    await stage.think(ref, text_of("second"))
    assert (await run.poll(timeout=5)).result == "second"
    await run.send("and?")
    await stage.think(ref, text_of("third"))
    first, *_ = await run.messages()
    assert (await run.retry(first)).turn == 4
    assert [message.id for message in await run.messages()] == [first.id]
    with pytest.raises(NotFoundError):
        await run.retry("01NOSUCHMESSAGE")


async def test_feedback_is_stored_and_withdrawn(client: AsyncPerdure, stage: Stage) -> None:
    run = await handle(client, await stage.finished())
    await run.feedback(0.5, "half right")
    seen = await run.refresh()
    assert (seen.feedback_score, seen.feedback_comment) == (0.5, "half right")
    await run.feedback(0)
    seen = await run.refresh()
    assert (seen.feedback_score, seen.feedback_comment) == (0, None)
    with pytest.raises(InvalidRequestError) as refused:
        await run.feedback(1.5)
    assert refused.value.errors[0].pointer == "/score"


async def test_a_deleted_run_is_unknown(client: AsyncPerdure, stage: Stage) -> None:
    run = await handle(client, await stage.finished())
    await run.delete()
    with pytest.raises(NotFoundError):
        await run.refresh()


async def test_a_run_over_its_budget_is_resumed_with_more(
    client: AsyncPerdure, stage: Stage
) -> None:
    await stage.register("query")
    ref = await stage.run(budget=Budget(steps=1))
    (order,) = await stage.called(ref, "sales_query")
    await stage.lease_and_finish(ref, order.call_id)
    await stage.begin(ref)
    run = await handle(client, ref)
    assert (run.status, run.snapshot.paused_for) == (RunStatus.PAUSED, PausedFor.BUDGET)
    with pytest.raises(ConflictError) as refused:
        await run.resume()
    assert refused.value.code == "budget_exhausted"
    with pytest.raises(InvalidRequestError):
        await run.resume(Budget(steps=1))
    assert (await run.resume(Budget(steps=5, tokens=9_000))).status is RunStatus.RUNNING
    assert run.snapshot.budget == Budget(steps=5, tokens=9_000)


async def test_the_timeline_has_what_is_new(client: AsyncPerdure, stage: Stage) -> None:
    run = await handle(client, ref := await stage.run())
    before = await run.timeline()
    assert [event.type for event in before.activity] == ["run.created"]
    assert (await run.timeline(before.version, wait=0.2)).activity == []
    await stage.think(ref, text_of("done"))
    after = await run.timeline(before.version, wait=5)
    assert after.run.status is RunStatus.DONE
    assert after.activity[0].version == before.version + 1
    assert "done" in str(after.messages[-1].data)
    part = await run.timeline(limit=1)
    assert (len(part.activity), part.has_more) == (1, True)


async def test_calls_and_where_a_value_came_from(client: AsyncPerdure, stage: Stage) -> None:
    await stage.register("query", "count")
    ref = await stage.run()
    orders = await stage.called(ref, "sales_query", "sales_count")
    await stage.lease_and_finish(ref, orders[0].call_id, '"Ada owes 17"')
    run = await handle(client, ref)
    calls = await run.calls()
    assert [call.function for call in calls] == ["query", "count"]
    assert (calls[0].result, calls[1].result_type) == ("Ada owes 17", None)
    assert [call.id for call in await run.references("owes 17")] == [calls[0].id]
    assert await run.references("OWES") == []
    long_ago = datetime.now(UTC) - timedelta(days=1)
    assert await run.references("owes 17", before=long_ago) == []


async def test_deliveries_are_listed_and_sent_again(client: AsyncPerdure, stage: Stage) -> None:
    await stage.register("announce")
    ref = await stage.finished(on_status_change=HANDLER)
    run = await handle(client, ref)
    first, second = await run.deliveries()
    assert [first.transition, second.transition] == [1, 2]
    with pytest.raises(ConflictError) as refused:
        await run.resend(first)
    assert refused.value.code == "delivery_is_pending"
    await stage.lease_and_finish(ref, first.call_id)
    assert [one.status for one in await run.deliveries()] == ["delivered", "pending"]
    assert (await run.resend(1)).status == "pending"
    assert (await stage.rows(tables.calls))[0]["status"] == "pending"


async def test_blobs_of_a_run_are_listed_and_read(client: AsyncPerdure, stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run()
    (order,) = await stage.called(ref, "sales_query")
    await stage.lease(ref, order.call_id)
    await stage.store.blobs.add(
        stage.cluster_id,
        order.call_id,
        "m1",
        name="chart.png",
        type_=BlobType.PNG,
        content=b"\x89PNG",
    )
    run = await handle(client, ref)
    (kept,) = await run.blobs()
    assert (kept.name, kept.size, kept.call_id) == ("chart.png", 4, order.call_id)
    assert await client.read_blob(kept) == b"\x89PNG"
    with pytest.raises(NotFoundError):
        await client.read_blob("01NOSUCHBLOB")
