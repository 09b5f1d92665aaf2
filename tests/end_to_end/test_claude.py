"""A run through the real Anthropic client, against a local server that speaks its dialect and checks its rules."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure import AsyncPerdure
from perdure.contract import RunStatus
from tests.support.running_stack import (
    REPOSITORY,
    World,
    environment_for,
    read_lines,
    registered,
    start_stack,
)

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def claude(
    processes: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[World, Path]]:
    """A stack whose Claude is a local server, and the file in which that server keeps the requests."""
    folder = tmp_path_factory.mktemp("claude")
    requests = folder / "requests.jsonl"
    command = [sys.executable, "-m", "tests.support.anthropic_server", "--port", "0"]
    server = subprocess.Popen(
        [*command, "--record", str(requests)], cwd=REPOSITORY, stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    with server.stdout as output:
        url = json.loads(output.readline())["url"]
    environment = environment_for(folder) | {
        "ANTHROPIC_API_KEY": "sk-ant-not-a-real-key",
        "ANTHROPIC_BASE_URL": url,
    }
    world = start_stack(folder, environment)
    try:
        yield world, requests
    finally:
        world.stop()
        server.terminate()
        server.wait(30)


async def test_a_run_with_claude_calls_functions_and_ends(claude: tuple[World, Path]) -> None:
    world, requests = claude
    script: list[dict[str, Any]] = [
        {"tool_use": "e2e_work", "input": {"run": "claude", "step": 1}},
        {"text": "worked"},
    ]
    async with AsyncPerdure(url=world.url, api_key=world.api_key) as client:
        await registered(client)
        run = await client.create_run(
            json.dumps(script),
            name="claude at work",  # or it would be asked for one
            model="claude-3-5-sonnet",
            functions=["e2e_work"],
            context={"secret": "never shown"},
        )
        done = await run.poll(timeout=60)
    assert done.status is RunStatus.DONE
    assert done.result == "worked"
    assert done.run.model_identifier.startswith("anthropic/claude-")
    assert done.usage.input_tokens > 0
    assert done.usage.model_calls == 2
    sent = requests.read_text()
    assert len(read_lines(requests)) == 2
    assert "never shown" not in sent
