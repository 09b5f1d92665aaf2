"""Timelines: what is new after a version or an id, each thing once; and feedback."""

from __future__ import annotations

import pytest

from orchestrator.errors import NotFoundError
from orchestrator.llm.messages import ModelResponse, StopReason, ToolCall
from orchestrator.llm.prompts import REASON_PARAMETER
from orchestrator.store.database.json_columns import object_from_json
from orchestrator.workflows.interface import RunRef
from tests.orchestrator.store.conversation.conversations import first_id, rows_of
from tests.support.stage import HANDLER, Stage, calls_for, text_of


async def _story(stage: Stage) -> RunRef:
    """Two calls one after the other, a long result with a summary, a follow-up, an answer."""
    await stage.register("query")
    ref = await stage.run()
    (first,) = await stage.called(ref)
    await stage.lease_and_finish(ref, first.call_id)
    (second,) = await stage.called(ref)
    await stage.lease_and_finish(ref, second.call_id, "x" * 20_000)
    await stage.store.results.show_summary(ref, second.call_id, "many x", 20_000)
    await stage.send(ref, "and then?")
    await stage.think(ref, text_of("the answer"))
    return ref


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_pages_of_a_timeline_add_up_to_the_run(stage: Stage, limit: int) -> None:
    ref = await _story(stage)
    whole = await stage.store.timeline.page(ref, after=0, limit=1_000)
    versions: list[int] = []
    messages: set[str] = set()
    calls: set[str] = set()
    more, after = True, 0
    while more:
        page = await stage.store.timeline.page(ref, after=after, limit=limit)
        assert len(page.events) <= limit
        versions += [event.version for event in page.events]
        messages |= {message.id for message in page.messages}
        calls |= {shown.call.id for shown in page.calls}
        more, after = page.more, versions[-1]
    assert versions == list(range(1, whole.run.version + 1))
    assert messages == {row.id for row in await rows_of(stage, ref)}
    assert messages == {message.id for message in whole.messages}
    assert calls == {shown.call.id for shown in whole.calls}
    assert [shown.content for shown in whole.calls] == ['"ok"', None]


async def test_what_a_page_is_about_is_shown_as_it_stands_now(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run()
    (order,) = await stage.called(ref)
    created = await stage.store.timeline.page(ref, after=0, limit=100)
    (pending,) = created.calls
    await stage.lease_and_finish(ref, order.call_id)
    news = await stage.store.timeline.page(ref, after=created.events[-1].version, limit=100)
    assert [event.type for event in news.events] == ["call.started", "call.finished"]
    assert [shown.call.status for shown in (pending, *news.calls)] == ["pending", "success"]
    assert [message.type for message in news.messages] == ["invocation-result"]


async def test_handlers_are_no_part_of_a_timeline(stage: Stage) -> None:
    await stage.register("announce")
    ref = await stage.finished(on_status_change=HANDLER)
    order, *_ = await stage.store.deliveries.list_pending(ref, [])
    await stage.store.deliveries.list_pending(ref, [order.call_id])
    page = await stage.store.timeline.page(ref, after=0, limit=100)
    assert "delivery.dead" in {event.type for event in page.events}
    assert page.calls == []


async def test_messages_and_calls_after_one_that_was_seen(stage: Stage) -> None:
    ref = await _story(stage)
    timeline = stage.store.timeline
    rows = await rows_of(stage, ref)
    for seen, rest in (("0", rows), (rows[0].id, rows[1:]), (rows[-1].id, [])):
        assert await timeline.messages_after(ref, seen, limit=100) == rest
    assert await timeline.messages_after(ref, rows[0].id, limit=2) == rows[1:3]
    calls = await timeline.calls_after(ref, "0", limit=100)
    assert len(calls) == 2
    assert await timeline.calls_after(ref, calls[0].call.id, limit=100) == calls[1:]


async def test_messages_that_were_replaced_do_not_come_again(stage: Stage) -> None:
    ref = await stage.finished()
    first = await first_id(stage, ref)
    await stage.store.rewind.edit(ref, first, "go slowly")
    (message,) = await stage.store.timeline.messages_after(ref, "0", limit=100)
    assert (message.id, object_from_json(message.data)) == (first, {"message": "go slowly"})


async def test_a_foreign_run_has_no_timeline(stage: Stage) -> None:
    ref = await stage.run()
    timeline, foreign = stage.store.timeline, RunRef("another-cluster", ref.run_id)
    for asked in (
        timeline.page(foreign, after=0, limit=1),
        timeline.messages_after(foreign, "0", limit=1),
        timeline.calls_after(foreign, "0", limit=1),
        stage.store.feedback.set(foreign, "good", 1.0),
    ):
        with pytest.raises(NotFoundError):
            await asked


async def test_feedback_keeps_fractions_and_odd_characters(stage: Stage) -> None:
    ref = await stage.finished()
    for comment, score in (("so-so \U0001f600", 0.1), (None, 0.0), ("", None)):
        await stage.store.feedback.set(ref, comment, score)
        run = await stage.get_run(ref)
        assert (run.feedback_comment, run.feedback_score) == (comment, score)
    assert len(await stage.events(ref, "run.feedback")) == 3


async def test_a_reply_with_calls_brings_them_along(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run()
    before = (await stage.get_run(ref)).version
    orders = (await stage.think(ref, calls_for("sales_query", "sales_query"))).orders
    page = await stage.store.timeline.page(ref, after=before, limit=100)
    assert [shown.call.id for shown in page.calls] == [order.call_id for order in orders]
    assert [message.type for message in page.messages] == ["agent"]


async def test_why_a_call_is_made_is_in_the_timeline(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run()
    asked = ToolCall("t1", "sales_query", {REASON_PARAMETER: "To count them.", "sql": "select 1"})
    await stage.think(ref, ModelResponse("", StopReason.CALLS, (asked,)))
    page = await stage.store.timeline.page(ref, after=0, limit=100)
    assert [shown.call.reasoning for shown in page.calls] == ["To count them."]
