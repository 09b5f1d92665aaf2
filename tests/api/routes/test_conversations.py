"""Edits, retries, deletion, feedback and timelines over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

from api.dependencies import ApiServices
from api.routes.long_poll import wait_for_change, wait_for_end
from orchestrator.llm.messages import ModelResponse, StopReason, ToolCall
from orchestrator.llm.prompts import REASON_PARAMETER
from orchestrator.workflows.interface import RunRef
from tests.support.stage import Stage, calls_for, text_of

NewRun = Callable[..., Awaitable[str]]
STREAM = {"Accept": "text/event-stream"}


async def _conversation(
    client: httpx2.AsyncClient, path: str, **params: str
) -> list[tuple[str, str | None]]:
    items = (await client.get(f"{path}/messages", params=params)).json()["items"]
    return [(item["data"]["message"], item["replacedBy"]) for item in items]


@pytest.fixture
async def done(runs: str, new_run: NewRun, stage: Stage) -> str:
    """The path of a run that is done: "hello", "the answer"."""
    run = await new_run(initialPrompt="hello")
    await stage.think(RunRef(stage.cluster_id, run), text_of("the answer"))
    return f"{runs}/{run}"


async def _first_id(client: httpx2.AsyncClient, path: str) -> str:
    found: str = (await client.get(f"{path}/messages")).json()["items"][0]["id"]
    return found


# -- edits and retries -----------------------------------------------------------------------------


async def test_an_edited_message_begins_the_run_again(
    client: httpx2.AsyncClient, done: str
) -> None:
    message_id = await _first_id(client, done)
    edited = await client.put(f"{done}/messages/{message_id}", json={"message": "good evening"})
    assert edited.status_code == 200
    assert (edited.json()["id"], edited.json()["turn"]) == (message_id, 2)
    assert edited.json()["data"] == {"message": "good evening"}
    run = (await client.get(done)).json()
    assert (run["status"], run["turn"], run["result"]) == ("pending", 2, None)
    replaced = [("hello", message_id), ("the answer", message_id)]
    assert await _conversation(client, done) == [("good evening", None)]
    assert await _conversation(client, done, replaced="true") == replaced
    assert await _conversation(client, done, replaced="all") == [
        *replaced,
        ("good evening", None),
    ]


async def test_the_same_edit_again_is_the_same_message(
    client: httpx2.AsyncClient, done: str
) -> None:
    path = f"{done}/messages/{await _first_id(client, done)}"
    first, second = [await client.put(path, json={"message": "again"}) for _ in range(2)]
    assert first.json() == second.json()
    assert (await client.get(done)).json()["turn"] == 2


async def test_a_retry_answers_with_the_run_in_its_next_turn(
    client: httpx2.AsyncClient, done: str
) -> None:
    first = await client.post(f"{done}/retry")
    assert (first.status_code, first.json()["status"], first.json()["turn"]) == (200, "pending", 2)
    body = {"messageId": await _first_id(client, done)}
    second = await client.post(f"{done}/retry", json=body)
    assert (second.status_code, second.json()["turn"]) == (200, 2)
    assert await _conversation(client, done) == [("hello", None)]


@pytest.mark.parametrize("busy", [True, False])
async def test_a_run_that_is_not_interactive_is_neither_edited_nor_retried(
    client: httpx2.AsyncClient, runs: str, new_run: NewRun, stage: Stage, busy: bool
) -> None:
    run = await new_run(interactive=False)
    path = f"{runs}/{run}"
    if not busy:
        await stage.think(RunRef(stage.cluster_id, run), text_of("the answer"))
    message_id = await _first_id(client, path)
    for answer in (
        await client.put(f"{path}/messages/{message_id}", json={"message": "x"}),
        await client.post(f"{path}/retry"),
        await client.post(f"{path}/messages", json={"message": "x"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "run_is_not_interactive")


async def test_refusals_say_what_is_wrong(client: httpx2.AsyncClient, done: str, runs: str) -> None:
    answer_id = (await client.get(f"{done}/messages")).json()["items"][1]["id"]
    message_id = await _first_id(client, done)
    text = {"message": "x"}
    for path, body, expected in (
        (f"messages/{answer_id}", text, (409, "not_editable")),
        ("messages/no-message", text, (404, "not_found")),
        (f"messages/{message_id}", {}, (422, "invalid_request")),
        (f"messages/{message_id}", {"message": "x" * 500_001}, (422, "invalid_request")),
        (f"messages/{message_id}", {**text, "type": "human"}, (422, "invalid_request")),
    ):
        answer = await client.put(f"{done}/{path}", json=body)
        assert (answer.status_code, answer.json()["code"]) == expected
    retry = await client.post(f"{done}/retry", json={"messageId": answer_id})
    assert (retry.status_code, retry.json()["code"]) == (409, "not_editable")
    unknown = await client.post(f"{runs}/no-run-at-all/retry")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")


# -- feedback --------------------------------------------------------------------------------------


async def test_feedback_is_shown_on_the_run_and_the_last_one_counts(
    client: httpx2.AsyncClient, done: str
) -> None:
    for body, expected in (
        ({"comment": "close", "score": 0.75}, ("close", 0.75)),
        ({"comment": None, "score": 1}, (None, 1.0)),
        ({"comment": "never mind"}, ("never mind", None)),
        ({}, (None, None)),
    ):
        assert (await client.post(f"{done}/feedback", json=body)).status_code == 204
        run = (await client.get(done)).json()
        assert (run["feedbackComment"], run["feedbackScore"]) == expected
    events = (await client.get(f"{done}/events")).json()["items"]
    received = [event["data"] for event in events if event["type"] == "run.feedback"]
    assert received[0] == {"comment": "close", "score": 0.75}
    assert len(received) == 4


@pytest.mark.parametrize(
    "body", [{"score": 1.01}, {"score": -0.1}, {"score": "1"}, {"comment": "x" * 4_097}, {"x": 1}]
)
async def test_feedback_beyond_its_limits_is_refused(
    client: httpx2.AsyncClient, done: str, body: dict[str, Any]
) -> None:
    answer = await client.post(f"{done}/feedback", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    (name,) = body
    assert answer.json()["errors"][0]["pointer"] == f"/{name}"


# -- deletion --------------------------------------------------------------------------------------


async def test_a_deleted_run_is_gone_although_temporal_is_away(
    client: httpx2.AsyncClient, done: str
) -> None:
    assert (await client.delete(done)).status_code == 204
    for path in ("", "/messages", "/events", "/timeline"):
        assert (await client.get(f"{done}{path}")).status_code == 404
    again = await client.delete(done)
    assert (again.status_code, again.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("until", ["change", "end"])
async def test_who_waits_for_a_run_that_is_deleted_waits_no_longer(
    services: ApiServices, cluster: str, new_run: NewRun, until: str
) -> None:
    ref = RunRef(cluster, await new_run())
    seen = await services.store.runs.get(ref)
    if until == "change":
        waiting = wait_for_change(services, seen, after=seen.version, seconds=20)
    else:
        waiting = wait_for_end(services, seen, seconds=20)
    task = asyncio.create_task(waiting)
    await services.store.deletion.delete(ref)
    async with asyncio.timeout(services.settings.max_wait_seconds / 2):
        assert await task, "what was seen is not the answer"


async def test_a_stream_of_a_run_that_is_deleted_ends(
    real: httpx2.AsyncClient, runs: str, new_run: NewRun
) -> None:
    path = f"{runs}/{await new_run()}"
    versions: list[str] = []
    async with asyncio.timeout(10):
        async with real.stream("GET", f"{path}/events?follow=true", headers=STREAM) as response:
            async for item in httpx2.EventSource(response):
                versions.append(item.id)
                assert (await real.delete(path)).status_code == 204
    assert versions == ["1"]


async def test_the_id_of_a_deleted_run_is_free(client: httpx2.AsyncClient, runs: str) -> None:
    first = {"initialPrompt": "hello", "id": "mine"}
    assert (await client.post(runs, json=first)).status_code == 201
    assert (await client.delete(f"{runs}/mine")).status_code == 204
    anew = await client.post(runs, json={**first, "initialPrompt": "goodbye"})
    assert anew.status_code == 201
    assert await _conversation(client, f"{runs}/mine") == [("goodbye", None)]


# -- timeline --------------------------------------------------------------------------------------


async def test_a_timeline_shows_everything_once_and_in_order(
    client: httpx2.AsyncClient, runs: str, new_run: NewRun, stage: Stage
) -> None:
    """Page by page as the run goes on; what the pages are about adds up to the whole run."""
    await stage.register("query")
    run = await new_run(initialPrompt="hello")
    path, ref = f"{runs}/{run}", RunRef(stage.cluster_id, run)
    (order,) = (await stage.think(ref, calls_for("sales_query"))).orders
    await stage.lease_and_finish(ref, order.call_id, '{"rows": 3}')
    await stage.think(ref, text_of("three"))
    versions: list[int] = []
    messages: dict[str, dict[str, Any]] = {}
    calls: dict[str, dict[str, Any]] = {}
    page: dict[str, Any] = {"hasMore": True, "version": 0}
    while page["hasMore"]:
        after = page["version"]
        page = (await client.get(f"{path}/timeline", params={"after": after, "limit": 2})).json()
        versions += [event["version"] for event in page["activity"]]
        messages |= {message["id"]: message for message in page["messages"]}
        calls |= {call["id"]: call for call in page["calls"]}
        assert page["run"] == (await client.get(path)).json()
    assert versions == list(range(1, page["run"]["version"] + 1))
    whole = (await client.get(f"{path}/messages")).json()["items"]
    assert sorted(messages.values(), key=whole.index) == whole
    (call,) = calls.values()
    assert (call["id"], call["status"], call["result"]) == (order.call_id, "success", {"rows": 3})
    end = page["version"]
    nothing = (await client.get(f"{path}/timeline", params={"after": end})).json()
    assert (nothing["activity"], nothing["messages"], nothing["calls"]) == ([], [], [])
    assert (nothing["version"], nothing["hasMore"]) == (end, False)


async def test_a_long_result_is_left_out_of_a_timeline(
    client: httpx2.AsyncClient, runs: str, new_run: NewRun, stage: Stage
) -> None:
    await stage.register("query")
    run = await new_run()
    ref = RunRef(stage.cluster_id, run)
    (order,) = (await stage.think(ref, calls_for("sales_query"))).orders
    await stage.lease_and_finish(ref, order.call_id, f'"{"x" * 20_000}"')
    (call,) = (await client.get(f"{runs}/{run}/timeline")).json()["calls"]
    assert (call["result"], call["resultSize"]) == (None, 20_002)


async def test_a_timeline_shows_why_a_call_is_made(
    client: httpx2.AsyncClient, runs: str, new_run: NewRun, stage: Stage
) -> None:
    await stage.register("query")
    ref = RunRef(stage.cluster_id, await new_run())
    asked = ToolCall("t1", "sales_query", {REASON_PARAMETER: "To count them."})
    await stage.think(ref, ModelResponse("", StopReason.CALLS, (asked,)))
    shown = (await client.get(f"{runs}/{ref.run_id}/timeline")).json()
    assert [call["reasoning"] for call in shown["calls"]] == ["To count them."]


async def test_a_timeline_waits_for_news_and_no_longer(
    real: httpx2.AsyncClient, runs: str, new_run: NewRun
) -> None:
    path = f"{runs}/{await new_run()}"
    waiting = asyncio.create_task(real.get(f"{path}/timeline", params={"after": 1, "wait": 20}))
    sent = await real.post(f"{path}/messages", json={"message": "one more thing"})
    async with asyncio.timeout(10):
        page = (await waiting).json()
    assert [event["type"] for event in page["activity"]] == ["message.added"]
    assert [message["id"] for message in page["messages"]] == [sent.json()["id"]]
    in_vain = (await real.get(f"{path}/timeline", params={"after": 2, "wait": 0.1})).json()
    assert (in_vain["activity"], in_vain["version"]) == ([], 2)


async def test_a_timeline_shows_an_edit(client: httpx2.AsyncClient, done: str) -> None:
    seen = (await client.get(f"{done}/timeline")).json()["version"]
    message_id = await _first_id(client, done)
    await client.put(f"{done}/messages/{message_id}", json={"message": "good evening"})
    page = (await client.get(f"{done}/timeline", params={"after": seen})).json()
    assert [event["type"] for event in page["activity"]] == ["run.status", "message.edited"]
    (message,) = page["messages"]
    assert message["data"] == {"message": "good evening"}
