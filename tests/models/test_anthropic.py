"""The real Anthropic client against a local server of its dialect, which refuses what the real API refuses."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import pytest_asyncio

from orchestrator.conversation import (
    AssistantTurn,
    ModelError,
    ModelRequest,
    Posture,
    Reply,
    Stop,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    Usage,
    UserTurn,
)
from tests.models.anthropic_server import AnthropicServer, serving
from workers.models.anthropic import MAX_SUMMARIZED, AnthropicModels

KEY = "house-key-12345"
TOOLS = (
    Tool("shop_prices", "Prices.", {"properties": {"of": {"type": "string"}}}),
    Tool("shop_stock", "Stock.", {"type": "object", "properties": {}, "required": []}),
)
OVERLOADED = {"type": "overloaded_error", "message": "Overloaded"}
SPEND_LIMIT = {
    "type": "rate_limit_error",
    "message": "The limit of the month is reached.",
    "details": {"error_code": "enforced_spend_limit_reached"},
}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def listening() -> AsyncGenerator[AnthropicServer]:
    async with serving(AnthropicServer()) as server:
        yield server


@pytest.fixture
def server(listening: AnthropicServer) -> AnthropicServer:
    listening.forget()
    return listening


@pytest_asyncio.fixture(loop_scope="module")
async def provider(server: AnthropicServer) -> AsyncGenerator[AnthropicModels]:
    provider = AnthropicModels(KEY, base_url=server.url, read_timeout=5)
    yield provider
    await provider.aclose()


def request_of(*turns: Turn, **changes: Any) -> ModelRequest:
    values: dict[str, Any] = {"system": "Be brief.", "tools": TOOLS, "max_output_tokens": 500}
    return ModelRequest(model="claude-sonnet-5-5", turns=turns, **{**values, **changes})


def script(*entries: Mapping[str, Any]) -> UserTurn:
    return UserTurn(texts=(json.dumps(entries),))


async def ask(provider: AnthropicModels, *turns: Turn, **changes: Any) -> Reply:
    model = provider.model("claude-sonnet-5-5")
    return await model.reply(request_of(*turns, **changes), lambda: None)


async def refused(provider: AnthropicModels, *turns: Turn, **changes: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await ask(provider, *turns, **changes)
    assert caught.value.__cause__ is None
    return caught.value


def unmarked(value: Any) -> Any:
    """The value without cache marks, which move along with the conversation."""
    if isinstance(value, list):
        return [unmarked(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, dict):
        return {k: unmarked(v) for k, v in value.items() if k != "cache_control"}  # pyright: ignore[reportUnknownVariableType]
    return value


# -- answers ---------------------------------------------------------------------------------------


async def test_a_text_comes_back_with_its_usage_cache_tokens_included(
    server: AnthropicServer, provider: AnthropicModels
) -> None:
    usage = {
        "input_tokens": 7,
        "output_tokens": 21,
        "cache_read_input_tokens": 300,
        "cache_creation_input_tokens": 40,
    }
    reply = await ask(provider, script({"text": "Good morning.", "usage": usage}))
    assert (reply.text, reply.stop, reply.calls) == ("Good morning.", Stop.END, ())
    assert reply.usage == Usage(7, 21, 300, 40)
    assert reply.model == "claude-sonnet-5-5"
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert server.requests[0]["max_tokens"] == 500


async def test_calls_are_answered_first_and_blocks_go_back_verbatim(
    server: AnthropicServer, provider: AnthropicModels
) -> None:
    blocks: list[dict[str, Any]] = [
        {"type": "thinking", "thinking": "Two at once.", "signature": "c2lnbmF0dXJl=="},
        {"type": "redacted_thinking", "data": "b3BhcXVl"},
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "toolu_1", "name": "shop_prices", "input": {"of": "tea – ü"}},
        {"type": "tool_use", "id": "toolu_2", "name": "shop_stock", "input": {}},
    ]
    first = script({"content": blocks}, {"text": "Done."})
    asked = await ask(provider, first)
    assert asked.stop is Stop.CALLS
    assert asked.calls == (
        ToolCall("toolu_1", "shop_prices", {"of": "tea – ü"}),
        ToolCall("toolu_2", "shop_stock", {}),
    )
    stored = replace(asked, blocks=tuple(json.loads(json.dumps(asked.blocks))))
    results = UserTurn(
        results=(
            ToolResult("toolu_1", "shop_prices", "3.20"),
            ToolResult("toolu_2", "shop_stock", "no stock list", is_error=True),
        ),
        texts=("Hurry, please.",),
    )
    assert (await ask(provider, first, AssistantTurn(stored), results)).text == "Done."
    _, said, answered = server.requests[1]["messages"]
    assert said == {"role": "assistant", "content": blocks}
    assert unmarked(answered["content"]) == [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "3.20"},
        {
            "type": "tool_result",
            "tool_use_id": "toolu_2",
            "content": "no stock list",
            "is_error": True,
        },
        {"type": "text", "text": "Hurry, please."},
    ]


async def test_the_prefix_of_a_run_stays_byte_identical_and_is_marked_for_the_cache(
    server: AnthropicServer, provider: AnthropicModels
) -> None:
    turns: list[Turn] = [
        script({"tool_use": "shop_stock"}, {"tool_use": "shop_stock"}, {"text": "."})
    ]
    for _ in range(2):
        reply = await ask(provider, *turns)
        turns += [
            AssistantTurn(reply),
            UserTurn(results=tuple(ToolResult(c.id, c.name, "1") for c in reply.calls)),
        ]
    await ask(provider, *turns)
    first, second, third = server.requests
    for name in ("tools", "system"):
        assert json.dumps(first[name]) == json.dumps(second[name]) == json.dumps(third[name])
        assert "cache_control" in first[name][-1]
    texts = [json.dumps(unmarked(body["messages"]))[:-1] for body in (first, second, third)]
    assert texts[2].startswith(texts[1])
    assert texts[1].startswith(texts[0])
    marked = [
        index
        for index, message in enumerate(third["messages"])
        if "cache_control" in message["content"][-1]
    ]
    assert marked == [2, 4]


async def test_what_the_api_gives_but_does_not_take_is_left_out_of_what_goes_back(
    provider: AnthropicModels,
) -> None:
    citation = {
        "type": "char_location",
        "cited_text": "tea",
        "document_index": 0,
        "document_title": None,
        "start_char_index": 0,
        "end_char_index": 3,
        "file_id": "file_1",
    }
    content: list[dict[str, Any]] = [
        {"type": "text", "text": "", "citations": None},
        {"type": "text", "text": "Tea.", "citations": [citation]},
        {"type": "tool_use", "id": "t", "name": "shop_stock", "input": {}, "caller": None},
    ]
    first = script({"content": content}, {"text": "Fine."})
    reply = await ask(provider, first)
    answer = UserTurn(results=(ToolResult("t", "shop_stock", ""),))
    assert (await ask(provider, first, AssistantTurn(reply), answer)).text == "Fine."
    assert [block["type"] for block in reply.blocks] == ["text", "tool_use"]


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("end_turn", Stop.END),
        ("stop_sequence", Stop.END),
        ("max_tokens", Stop.LENGTH),
        ("pause_turn", Stop.PAUSE),
        ("refusal", Stop.REFUSAL),
        ("model_context_window_exceeded", Stop.CONTEXT),
        ("something_new", Stop.END),
    ],
)
async def test_each_stop_reason_has_its_meaning(
    provider: AnthropicModels, reason: str, stop: Stop
) -> None:
    reply = await ask(provider, script({"text": "So far", "stop_reason": reason}))
    assert (reply.stop, reply.text) == (stop, "So far")


async def test_a_refusal_keeps_the_providers_words(provider: AnthropicModels) -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "Not this."}
    entry: dict[str, Any] = {"content": [], "stop_reason": "refusal", "stop_details": details}
    reply = await ask(provider, script(entry))
    assert (reply.stop, reply.detail, reply.blocks) == (Stop.REFUSAL, "Not this.", ())


async def test_a_call_that_the_output_limit_cut_off_is_neither_made_nor_sent_back(
    server: AnthropicServer, provider: AnthropicModels
) -> None:
    cut: dict[str, Any] = {
        "type": "tool_use",
        "id": "t",
        "name": "shop_prices",
        "input": {},
        "partial_json": '{"of": "te',
    }
    first = script({"content": [cut], "stop_reason": "max_tokens"}, {"text": "Shorter."})
    reply = await ask(provider, first)
    assert (reply.stop, reply.calls, reply.blocks) == (Stop.LENGTH, (), ())
    server.script = lambda body: {"text": "Shorter."}
    again = await ask(provider, first, AssistantTurn(reply), UserTurn(texts=("Be brief.",)))
    assert again.text == "Shorter."
    assert [message["role"] for message in server.requests[1]["messages"]] == ["user"]


@pytest.mark.parametrize("with_empty_turn", [True, False])
async def test_a_paused_turn_goes_on_from_what_was_said(
    server: AnthropicServer, provider: AnthropicModels, with_empty_turn: bool
) -> None:
    first = script({"text": "So far", "stop_reason": "pause_turn"}, {"text": ", so good."})
    paused = await ask(provider, first)
    empty: list[Turn] = [UserTurn()] if with_empty_turn else []
    reply = await ask(provider, first, AssistantTurn(paused), *empty)
    assert reply.text == ", so good."
    assert server.requests[1]["messages"][-1]["role"] == "assistant"
    await ask(provider, first, AssistantTurn(paused), AssistantTurn(reply), UserTurn(texts=("?",)))
    assert len(server.requests[2]["messages"]) == 3


async def test_another_models_reply_and_empty_words_make_a_valid_request(
    server: AnthropicServer, provider: AnthropicModels
) -> None:
    server.script = lambda body: {"text": "Welcome."}
    turns: list[Turn] = [
        UserTurn(texts=("  \n",)),
        AssistantTurn(
            Reply("Looking.", Stop.CALLS, (ToolCall("call_0_0", "shop_stock", ["odd"]),))
        ),
        UserTurn(results=(ToolResult("call_0_0", "shop_stock", "half a \ud83d and NUL \0"),)),
        AssistantTurn(Reply("", Stop.END)),
        UserTurn(),
    ]
    assert (await ask(provider, *turns, system=" ", tools=())).text == "Welcome."
    body = server.requests[0]
    assert "system" not in body
    assert "tools" not in body
    assert body["messages"][0]["content"][0]["text"] == "(empty)"
    assert body["messages"][2]["content"][0]["content"] == "half a \ufffd and NUL \0"
    assert body["messages"][2]["content"][1]["text"] == "Continue."


# -- mishaps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error", "posture"),
    [
        (400, {"type": "invalid_request_error", "message": "bad"}, Posture.FAIL),
        (403, {"type": "permission_error", "message": "no"}, Posture.FAIL),
        (404, {"type": "not_found_error", "message": "model: claude-x"}, Posture.FAIL),
        (413, {"type": "request_too_large", "message": "big"}, Posture.FAIL),
        (422, {}, Posture.FAIL),
        (408, {"type": "timeout_error", "message": "slow"}, Posture.RETRY),
        (409, {"type": "conflict_error", "message": "busy"}, Posture.RETRY),
        (429, {"type": "rate_limit_error", "message": "slow down"}, Posture.RETRY),
        (500, {"type": "api_error", "message": "oops"}, Posture.RETRY),
        (503, {}, Posture.RETRY),
        (529, OVERLOADED, Posture.RETRY),
        (402, {"type": "billing_error", "message": "pay"}, Posture.PAUSE),
        (429, SPEND_LIMIT, Posture.PAUSE),
        (400, {"message": "Your credit balance is too low to access the API."}, Posture.PAUSE),
        (400, {"message": "You have reached your specified API usage limits."}, Posture.PAUSE),
        (403, {"type": "billing_error", "message": "pay"}, Posture.PAUSE),
    ],
)
async def test_each_refusal_has_its_posture_and_is_not_tried_again_here(
    server: AnthropicServer,
    provider: AnthropicModels,
    status: int,
    error: dict[str, Any],
    posture: Posture,
) -> None:
    caught = await refused(provider, script({"status": status, "error": error}))
    assert (caught.posture, caught.status) == (posture, status)
    assert str(status) in caught.reason
    assert str(error.get("message", "")).rstrip(".") in caught.reason
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": format_datetime(datetime.now(UTC) - timedelta(hours=1))}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
async def test_the_wait_that_the_provider_asks_for_is_kept(
    provider: AnthropicModels, headers: dict[str, str], seconds: float | None
) -> None:
    entry = {"status": 429, "error": {"type": "rate_limit_error"}, "headers": headers}
    caught = await refused(provider, script(entry))
    assert (caught.posture, caught.retry_after) == (Posture.RETRY, seconds)


@pytest.mark.parametrize("zone", ["GMT", "-0000"])
async def test_the_wait_may_be_a_date(provider: AnthropicModels, zone: str) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=90)
    header = moment.strftime(f"%a, %d %b %Y %H:%M:%S {zone}")
    entry = {"status": 529, "error": OVERLOADED, "headers": {"retry-after": header}}
    caught = await refused(provider, script(entry))
    assert caught.retry_after is not None
    assert 60 < caught.retry_after <= 90


@pytest.mark.parametrize(
    ("status", "advice", "posture"),
    [
        (409, "false", Posture.FAIL),
        (400, "true", Posture.RETRY),
        (529, "false", Posture.RETRY),
    ],
)
async def test_the_providers_own_advice_on_trying_again_is_heard(
    provider: AnthropicModels, status: int, advice: str, posture: Posture
) -> None:
    entry = {"status": status, "headers": {"x-should-retry": advice}, "error": {}}
    assert (await refused(provider, script(entry))).posture is posture


async def test_a_wrong_key_says_what_to_do_and_is_never_shown(server: AnthropicServer) -> None:
    for key in ("opaque-wrong", "sk-ant-api03-very-wrong"):
        provider = AnthropicModels(key, base_url=server.url)
        caught = await refused(provider, script({"text": "hi"}))
        await provider.aclose()
        assert (caught.posture, caught.status) == (Posture.FAIL, 401)
        assert "check ANTHROPIC_API_KEY" in caught.reason
        assert key not in caught.reason
        assert "wrong" not in caught.reason


@pytest.mark.parametrize(
    ("error", "posture", "status"),
    [
        (OVERLOADED, Posture.RETRY, 529),
        ({"type": "api_error", "message": "oops"}, Posture.RETRY, 500),
        ({"type": "rate_limit_error", "message": "slow"}, Posture.RETRY, 429),
        ({"type": "never_heard_of", "message": "?"}, Posture.RETRY, 500),
        ({"type": "billing_error", "message": "pay"}, Posture.PAUSE, 402),
        (SPEND_LIMIT, Posture.PAUSE, 429),
        ({"type": "invalid_request_error", "message": "bad"}, Posture.FAIL, 400),
    ],
)
async def test_an_error_inside_the_stream_is_sorted_like_any_other(
    provider: AnthropicModels, error: dict[str, Any], posture: Posture, status: int
) -> None:
    caught = await refused(provider, script({"text": "half an ans", "event_error": error}))
    assert (caught.posture, caught.status) == (posture, status)


@pytest.mark.parametrize("where", [{"cut": n} for n in range(7)] + [{"end": n} for n in range(6)])
async def test_an_answer_that_breaks_off_is_tried_again(
    provider: AnthropicModels, where: dict[str, int]
) -> None:
    caught = await refused(provider, script({"text": "half an answer", **where}))
    assert caught.posture is Posture.RETRY
    assert "half" not in caught.reason


async def test_an_input_that_is_not_json_is_tried_again_without_being_quoted(
    provider: AnthropicModels,
) -> None:
    block: dict[str, Any] = {
        "type": "tool_use",
        "id": "t",
        "name": "n",
        "input": {},
        "partial_json": '{"a": ]!',
    }
    caught = await refused(provider, script({"content": [block]}))
    assert caught.posture is Posture.RETRY
    assert "]!" not in caught.reason


async def test_neither_the_key_nor_what_is_said_is_logged(
    provider: AnthropicModels, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert (await ask(provider, script({"text": "The answer."}))).text == "The answer."
    await refused(provider, script({"status": 500, "error": OVERLOADED}))
    assert caplog.messages
    for secret in (KEY, "The answer.", "Be brief."):
        assert secret not in caplog.text


async def test_silence_ends_at_the_read_timeout_and_pings_are_signs_of_life(
    server: AnthropicServer,
) -> None:
    provider = AnthropicModels(KEY, base_url=server.url, read_timeout=1.0)
    signs: list[None] = []
    request = request_of(script({"silent": True, "pings": 5}))
    with pytest.raises(ModelError) as caught:
        await provider.model("claude-sonnet-5-5").reply(request, lambda: signs.append(None))
    await provider.aclose()
    assert caught.value.posture is Posture.RETRY
    assert "silent for too long" in caught.value.reason
    assert len(signs) >= 2
    await asyncio.wait_for(server.disconnected.wait(), 5)


async def test_a_cancel_reaches_the_provider(
    server: AnthropicServer, provider: AnthropicModels
) -> None:
    call = asyncio.create_task(ask(provider, script({"silent": True})))
    await server.answering.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(server.disconnected.wait(), 5)


async def test_an_address_where_nobody_listens_is_tried_again_and_no_address_fails() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    for url, posture in ((f"http://127.0.0.1:{port}", Posture.RETRY), ("nowhere", Posture.FAIL)):
        provider = AnthropicModels(KEY, base_url=url)
        assert (await refused(provider, script({"text": "hi"}))).posture is posture
        await provider.aclose()


async def test_a_request_that_the_api_would_refuse_is_refused_by_the_server_too(
    provider: AnthropicModels,
) -> None:
    asked = Reply("", Stop.CALLS, (ToolCall("t", "shop_stock", {}),))
    caught = await refused(
        provider, script({"text": "."}), AssistantTurn(asked), UserTurn(texts=("Well?",))
    )
    assert caught.status == 400
    assert "tool_use ['t'] is answered by tool_result []" in caught.reason


# -- summaries -------------------------------------------------------------------------------------


async def test_a_summary_is_asked_for_as_data_and_a_huge_text_is_shown_in_part(
    server: AnthropicServer, provider: AnthropicModels
) -> None:
    server.script = lambda body: {"text": "Three rows."}
    model = provider.model("claude-haiku-5-5")
    reply = await model.summarize("a" * MAX_SUMMARIZED + "b" * MAX_SUMMARIZED, 2_000)
    assert reply.text == "Three rows."
    body = server.requests[0]
    shown = body["messages"][0]["content"][0]["text"]
    assert body["model"] == "claude-haiku-5-5"
    assert MAX_SUMMARIZED < len(shown) < MAX_SUMMARIZED + 500
    assert shown.endswith("b")
    assert f"{MAX_SUMMARIZED} characters left out" in shown
    assert "2000 characters" in shown
