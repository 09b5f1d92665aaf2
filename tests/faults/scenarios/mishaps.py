"""A provider in trouble: what it does, what the run says meanwhile, and how often it is asked."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from perdure import AsyncPerdure
from perdure.contract import RunStatus
from perdure.dev.child import bound_command
from tests.faults.checker.evidence import Evidence, gather
from tests.faults.checker.invariants import Violation
from tests.faults.checker.outcome import Outcome, judge
from tests.faults.ground.diary import lines_of
from tests.faults.ground.ground import ON_STATUS, Ground, laid_out
from tests.faults.ground.load import Scale, all_delivered, ended
from tests.support.running_stack import REPOSITORY

_SPENT = {"type": "invalid_request_error", "message": "Your credit balance is too low."}
MISHAPS: Mapping[str, dict[str, Any]] = {
    "status-429": {
        "status": 429,
        "headers": {"retry-after": "2"},
        "error": {"type": "rate_limit_error", "message": "slow down"},
    },
    "status-529": {"status": 529, "error": {"type": "overloaded_error", "message": "overloaded"}},
    "status-500": {"status": 500, "error": {"type": "api_error", "message": "internal"}},
    "silence": {"silent": True, "times": 2},  # given up after 30 s each time: a minute of it
    "cut-off": {"text": "half of an ans", "cut": 4},
    "spent": {"status": 400, "error": _SPENT},
}


async def model_in_trouble(folder: Path, scale: Scale) -> Outcome:
    """A run per mishap, all at once: each is asked again and no more, says why it waits, and ends with one answer."""
    record = folder / "requests.jsonl"
    async with (
        _claude(record) as url,
        laid_out(
            folder, ANTHROPIC_API_KEY="sk-ant-not-a-real-key", ANTHROPIC_BASE_URL=url
        ) as ground,
        ground.client() as client,
    ):
        for name, mishap in MISHAPS.items():
            await _create(ground, client, name, mishap)
        await _resume_when_paused(client)
        await ended(ground, client)
        await all_delivered(ground)
        evidence = await gather(ground)
    more = [*_asked_too_often(record), *_unreported(evidence), *_wrong_ends(evidence)]
    return judge("model in trouble", evidence, note=", ".join(MISHAPS), more=more)


@asynccontextmanager
async def _claude(record: Path) -> AsyncGenerator[str]:
    argv = (sys.executable, "-m", "tests.faults.ground.claude", "--record", str(record))
    process = await asyncio.create_subprocess_exec(
        *bound_command(argv), cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield json.loads(await process.stdout.readline())["url"]
    finally:
        process.terminate()
        await process.wait()


async def _create(ground: Ground, client: AsyncPerdure, name: str, mishap: dict[str, Any]) -> None:
    script = [{"first": mishap, "then": {"text": f"answered after {name}"}}]
    await client.create_run(
        json.dumps(script),
        id=name,
        name=name,  # or a model would be asked for one
        model="claude-3-5-sonnet",
        functions=["faults_work"],
        on_status_change=ON_STATUS,
    )
    ground.acknowledged[name] = ground.tenant.cluster_id


async def _resume_when_paused(client: AsyncPerdure) -> None:
    """The spend limit pauses its run; somebody pays and resumes it."""
    run = await client.get_run("spent")
    async with asyncio.timeout(30):
        while (await run.refresh()).status is not RunStatus.PAUSED:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)
    assert "credit balance" in str(run.snapshot.paused_reason)
    await run.resume()


def _asked_too_often(record: Path) -> list[Violation]:
    """One authority retries: each run was asked for once more than the trouble lasted."""
    asked = [json.dumps(request["messages"][0]) for request in lines_of(record)]
    found = {name: sum(f"answered after {name}" in one for one in asked) for name in MISHAPS}
    return [
        Violation("asked", name, f"was asked for {times} times")
        for name, times in found.items()
        if times != MISHAPS[name].get("times", 1) + 1
    ]


def _unreported(evidence: Evidence) -> list[Violation]:
    """A run that waited for its model said so, and until when, where the provider named a time."""
    found: list[Violation] = []
    for name in MISHAPS:
        waits = [e for e in evidence.of(evidence.events, name) if e["type"] == "run.waiting"]
        if name != "spent" and not any(wait["kind"] == "model" for wait in waits):
            found.append(Violation("waiting", name, "did not say that it waits for the model"))
        if name == "status-429" and not any(wait.get("retryAt") for wait in waits):
            found.append(Violation("waiting", name, "did not say until when"))
    return found


def _wrong_ends(evidence: Evidence) -> list[Violation]:
    """The answer is the whole one, and the half one is nowhere."""
    found = [
        Violation("answer", row["run"], f"ended with {row['result']}")
        for row in evidence.runs
        if row["result"] != json.dumps(f"answered after {row['run']}")
    ]
    halves = [row["run"] for row in evidence.messages if row["run"] == "cut-off"]
    if len(halves) != len(["the prompt", "the answer"]):
        found.append(Violation("answer", "cut-off", f"has {len(halves)} messages"))
    return found
