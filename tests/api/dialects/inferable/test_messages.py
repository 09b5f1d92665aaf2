"""Conversations, as the Inferable clients read and continue them."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from api.dialects.inferable.message_format import format_messages
from orchestrator.llm.prompts import GIVE_UP_TOOL, RESULT_TOOL
from tests.api.dialects.inferable.client import create


async def test_a_message_is_answered_by_201_without_a_body(
    theirs: httpx2.AsyncClient, runs: str
) -> None:
    run_id = await create(theirs, runs)
    sent = {"message": "more", "type": "human", "unknown": 1}
    response = await theirs.post(f"{runs}/{run_id}/messages", json=sent)
    assert (response.status_code, response.content) == (201, b"")
    assert "content-type" not in response.headers
    messages = (await theirs.get(f"{runs}/{run_id}/messages")).json()
    assert [message["data"] for message in messages] == [{"message": "[]"}, {"message": "more"}]
    assert messages[0]["pending"] is False


async def test_a_run_that_is_not_interactive_answers_400(
    theirs: httpx2.AsyncClient, runs: str
) -> None:
    run_id = await create(theirs, runs, interactive=False)
    response = await theirs.post(f"{runs}/{run_id}/messages", json={"message": "more"})
    assert response.status_code == 400
    assert response.json()["message"].startswith("The run is not interactive.")


async def test_a_long_conversation_is_shown_whole_and_supervisors_messages_are_not_shown(
    theirs: httpx2.AsyncClient, runs: str
) -> None:
    run_id = await create(theirs, runs)
    path = f"{runs}/{run_id}/messages"
    await theirs.post(path, json={"message": "be brief", "type": "supervisor"})
    for number in range(120):
        sent = await theirs.post(path, json={"message": str(number)})
        if sent.status_code == 409:  # so many may be queued
            break
    messages = (await theirs.get(path)).json()
    assert len(messages) > 50
    assert {message["type"] for message in messages} == {"human"}


def _message(kind: str, **data: Any) -> dict[str, Any]:
    return {"id": "m", "type": kind, "data": data, "turn": 1, "createdAt": "2026-01-01T00:00:00Z"}


def _asked(tool: str, **given: Any) -> dict[str, Any]:
    return _message("agent", invocations=[{"id": "i1", "toolName": tool, "input": given}])


@pytest.mark.parametrize(
    ("message", "data"),
    [
        (_message("agent", message="The end."), {"message": "The end.", "done": True}),
        (_asked(RESULT_TOOL, result={"n": 0}), {"done": True, "result": {"n": 0}}),
        (_asked(GIVE_UP_TOOL, reason="no data"), {"done": True, "issue": "no data"}),
        (
            _asked("sales_query", sql="…"),
            {"invocations": [{"id": "i1", "toolName": "sales_query", "input": {"sql": "…"}}]},
        ),
        (
            _message(
                "invocation-result",
                id="i1",
                toolName="f",
                result='{"a": null}',
                resultType="resolution",
            ),
            {
                "id": "i1",
                "result": {
                    "result": {"a": None},
                    "resultType": "resolution",
                    "status": "success",
                },
            },
        ),
        (
            _message(
                "invocation-result",
                id="i1",
                toolName="f",
                result="ValueError: no",
                resultType="rejection",
            ),
            {
                "id": "i1",
                "result": {
                    "result": "ValueError: no",
                    "resultType": "rejection",
                    "status": "success",
                },
            },
        ),
    ],
    ids=["text", "result", "gave up", "calls", "returned", "raised"],
)
def test_a_message_has_the_form_their_clients_read(
    message: dict[str, Any], data: dict[str, Any]
) -> None:
    (shown,) = format_messages([message])
    assert shown["data"] == data


@pytest.mark.parametrize(("kind", "shown"), [("rejection", 0), ("resolution", 1)])
def test_a_result_is_shown_unless_it_was_sent_back_to_the_model(kind: str, shown: int) -> None:
    answer = {"id": "i1", "toolName": RESULT_TOOL, "result": "…", "resultType": kind}
    messages = [_asked(RESULT_TOOL, result=5), _message("invocation-result", **answer)]
    assert len(format_messages(messages)) == shown
