"""The local Anthropic server refuses what the real API refuses, so that other tests can trust it."""

from __future__ import annotations

import asyncio
import json
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.anthropic_rules import violations

HEADERS = {"anthropic-version": "2026-10-21"}
MARK = {"type": "ephemeral"}
VALID: dict[str, Any] = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 100,
    "stream": True,
    "tools": [{"name": "look", "input_schema": {"type": "object"}}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": ""}]},
    ],
}


def test_a_valid_request_breaks_no_rule() -> None:
    assert violations(VALID, HEADERS) == []


@pytest.mark.parametrize(
    ("path", "value", "broken"),
    [
        (("temperature",), 1, "temperature: extra inputs"),
        (("max_tokens",), None, "max_tokens: field required"),
        (("model",), "", "model: field required"),
        (("stream",), False, "streaming is required"),
        (("system",), [], "system: at least one block"),
        (("tools", 0, "name"), "a.b", "name does not match"),
        (("tools",), VALID["tools"] * 2, "names must be unique"),
        (("tools", 0, "input_schema"), {}, "input_schema.type must be object"),
        (("messages",), [], "at least one message"),
        (("messages",), VALID["messages"][:2], "['t1'] is not answered"),
        (("messages",), VALID["messages"][1:], "the first must be of the user"),
        (("messages", 1, "role"), "user", "roles must alternate"),
        (("messages", 0, "content"), [], "has no content"),
        (("messages", 0, "content", 0, "text"), " ", "non-whitespace"),
        (("messages", 1, "content", 0, "input"), [], "must be an object"),
        (("messages", 1, "content", 0, "id"), "a b", "id: does not match"),
        (("messages", 1, "content", 0, "caller"), None, "null is not allowed"),
        (("messages", 2, "content", 0, "extra"), 1, "extra: extra inputs"),
        (("messages", 2, "content", 0, "tool_use_id"), "t2", "is answered by tool_result ['t2']"),
        (("system",), [{"type": "text", "text": "a", "cache_control": MARK}] * 5, "a maximum of 4"),
    ],
)
def test_each_rule_is_seen_when_it_is_broken(
    path: tuple[str | int, ...], value: object, broken: str
) -> None:
    body: Any = deepcopy(VALID)
    place = body
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    assert any(broken in problem for problem in violations(body, HEADERS))


def test_results_come_before_text() -> None:
    body = deepcopy(VALID)
    body["messages"][2]["content"].insert(0, {"type": "text", "text": "well"})
    assert any("must come first" in problem for problem in violations(body, HEADERS))


@pytest.mark.usefixtures("processes")
async def test_the_server_runs_alone_and_keeps_what_it_was_asked(tmp_path: Path) -> None:
    script, record = tmp_path / "script.json", tmp_path / "record.jsonl"
    script.write_text(json.dumps([{"text": "unused"}, {"text": "Hello."}]))
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "tests.support.anthropic_server"],
        *["--script", str(script), "--record", str(record)],
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    try:
        assert process.stdout is not None
        url = json.loads(await process.stdout.readline())["url"]
        async with httpx2.AsyncClient() as client:
            answer = await client.post(
                f"{url}/v1/messages", json=VALID, headers={**HEADERS, "authorization": "Bearer k"}
            )
    finally:
        process.terminate()
        await process.wait()
    assert answer.status_code == 200
    assert '"text": "lo."' in answer.text
    assert json.loads(record.read_text()) == VALID
