"""The real Anthropic client against a local server of its dialect, which refuses what the real API refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.llm.messages import (
    AssistantTurn,
    ModelResponse,
    StopReason,
    ToolCall,
    ToolResult,
    Turn,
    Usage,
    UserTurn,
)
from tests.support.anthropic_server import AnthropicServer
from tests.support.asking import KEY, generate, script, unmarked
from workers.models.anthropic.client import AnthropicModels

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_text_comes_back_with_its_usage_cache_tokens_included(
    server: AnthropicServer, provider: AnthropicModels
) -> None:
    usage = {
        "input_tokens": 7,
        "output_tokens": 21,
        "cache_read_input_tokens": 300,
        "cache_creation_input_tokens": 40,
    }
    reply = await generate(provider, script({"text": "Good morning.", "usage": usage}))
    assert (reply.text, reply.stop, reply.calls) == ("Good morning.", StopReason.END, ())
    assert reply.usage == Usage(7, 21, 300, 40)
    assert reply.model == "claude-sonnet-5-5"
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert server.requests[0]["max_tokens"] == 500


async def test_blocks_of_another_provider_are_not_sent_and_calls_keep_their_results(
    server: AnthropicServer, provider: AnthropicModels
) -> None:
    first = script({"text": "Let me look."}, {"text": "Done."})
    private: Any = {"type": "reasoning", "encrypted_content": "c2VjcmV0"}
    reply = ModelResponse(
        "Let me look.",
        StopReason.CALLS,
        (ToolCall("call_1", "shop_prices", {"of": "tea"}),),
        blocks=(private,),
        provider="another",
    )
    results = UserTurn(results=(ToolResult("call_1", "shop_prices", "3.20"),))
    assert (await generate(provider, first, AssistantTurn(reply), results)).provider == "anthropic"
    _, said, answered = server.requests[0]["messages"]
    assert said["content"] == [
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "call_1", "name": "shop_prices", "input": {"of": "tea"}},
    ]
    assert [block["tool_use_id"] for block in answered["content"]] == ["call_1"]
    assert "c2VjcmV0" not in json.dumps(server.requests[0])


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
    asked = await generate(provider, first)
    assert asked.stop is StopReason.CALLS
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
    assert (await generate(provider, first, AssistantTurn(stored), results)).text == "Done."
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
        reply = await generate(provider, *turns)
        turns += [
            AssistantTurn(reply),
            UserTurn(results=tuple(ToolResult(c.id, c.name, "1") for c in reply.calls)),
        ]
    await generate(provider, *turns)
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
    reply = await generate(provider, first)
    answer = UserTurn(results=(ToolResult("t", "shop_stock", ""),))
    assert (await generate(provider, first, AssistantTurn(reply), answer)).text == "Fine."
    assert [block["type"] for block in reply.blocks] == ["text", "tool_use"]


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("end_turn", StopReason.END),
        ("stop_sequence", StopReason.END),
        ("max_tokens", StopReason.LENGTH),
        ("pause_turn", StopReason.PAUSE),
        ("refusal", StopReason.REFUSAL),
        ("model_context_window_exceeded", StopReason.CONTEXT),
        ("something_new", StopReason.END),
    ],
)
async def test_each_stop_reason_has_its_meaning(
    provider: AnthropicModels, reason: str, stop: StopReason
) -> None:
    reply = await generate(provider, script({"text": "So far", "stop_reason": reason}))
    assert (reply.stop, reply.text) == (stop, "So far")


async def test_a_refusal_keeps_the_providers_message(provider: AnthropicModels) -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "Not this."}
    entry: dict[str, Any] = {"content": [], "stop_reason": "refusal", "stop_details": details}
    reply = await generate(provider, script(entry))
    assert (reply.stop, reply.detail, reply.blocks) == (StopReason.REFUSAL, "Not this.", ())


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
    reply = await generate(provider, first)
    assert (reply.stop, reply.calls, reply.blocks) == (StopReason.LENGTH, (), ())
    server.script = lambda body: {"text": "Shorter."}
    again = await generate(provider, first, AssistantTurn(reply), UserTurn(texts=("Be brief.",)))
    assert again.text == "Shorter."
    assert [message["role"] for message in server.requests[1]["messages"]] == ["user"]


@pytest.mark.parametrize("with_empty_turn", [True, False])
async def test_a_paused_turn_goes_on_from_where_it_paused(
    server: AnthropicServer, provider: AnthropicModels, with_empty_turn: bool
) -> None:
    first = script({"text": "So far", "stop_reason": "pause_turn"}, {"text": ", so good."})
    paused = await generate(provider, first)
    empty: list[Turn] = [UserTurn()] if with_empty_turn else []
    reply = await generate(provider, first, AssistantTurn(paused), *empty)
    assert reply.text == ", so good."
    assert server.requests[1]["messages"][-1]["role"] == "assistant"
    await generate(
        provider, first, AssistantTurn(paused), AssistantTurn(reply), UserTurn(texts=("?",))
    )
    assert len(server.requests[2]["messages"]) == 3


async def test_another_models_reply_and_empty_text_make_a_valid_request(
    server: AnthropicServer, provider: AnthropicModels
) -> None:
    server.script = lambda body: {"text": "Welcome."}
    turns: list[Turn] = [
        UserTurn(texts=("  \n",)),
        AssistantTurn(
            ModelResponse(
                "Looking.", StopReason.CALLS, (ToolCall("call_0_0", "shop_stock", ["odd"]),)
            )
        ),
        UserTurn(results=(ToolResult("call_0_0", "shop_stock", "half a \ud83d and NUL \0"),)),
        AssistantTurn(ModelResponse("", StopReason.END)),
        UserTurn(),
    ]
    assert (await generate(provider, *turns, system=" ", tools=())).text == "Welcome."
    body = server.requests[0]
    assert "system" not in body
    assert "tools" not in body
    assert body["messages"][0]["content"][0]["text"] == "(empty)"
    assert body["messages"][2]["content"][0]["content"] == "half a \ufffd and NUL \0"
    assert body["messages"][2]["content"][1]["text"] == "Continue."
