"""The two sides that are compared: a raw loop, and a run through Perdure's API."""

from __future__ import annotations

import json
import time
import uuid
from datetime import UTC, datetime

import httpx2
from temporalio.client import Client

from benchmarks.raw_loop import QUEUE
from benchmarks.stack import Stack
from perdure import AsyncPerdure


def script(steps: int, *, text: str = "x") -> str:
    """A prompt for the inline scripted model: call the function `steps` times, then end."""
    call = {"calls": [{"function": "bench_echo", "input": {"text": text}}]}
    return json.dumps([*[call] * steps, {"text": "done"}])


class RawSide:
    """Workflows of the raw loop, started and awaited over Temporal's own client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def run(self, steps: int) -> float:
        """Seconds of a loop of that many steps, from the start to the result."""
        started = time.perf_counter()
        await self._client.execute_workflow(
            "raw_loop", steps, id=f"raw-{uuid.uuid4()}", task_queue=QUEUE
        )
        return time.perf_counter() - started


class PerdureSide:
    """Runs through the API, with the function in a process of its own."""

    def __init__(self, client: AsyncPerdure, stack: Stack, temporal: Client) -> None:
        self._client = client
        self._stack = stack
        self._temporal = temporal

    async def run(self, steps: int) -> float:
        """Seconds of a run of that many model steps with a call each, from the request to the result."""
        started = time.perf_counter()
        run = await self._client.create_run(
            script(steps), model="scripted/inline", functions=["bench_echo"]
        )
        await run.poll(timeout=120)
        return time.perf_counter() - started

    async def creation(self) -> float:
        """Seconds until a create-run request is answered."""
        started = time.perf_counter()
        run = await self._client.create_run(
            script(1), model="scripted/inline", functions=["bench_echo"]
        )
        answered = time.perf_counter() - started
        await run.poll(timeout=60)
        return answered

    async def notice(self) -> float:
        """Seconds from the final transition's commit until a long poll has it."""
        run = await self._client.create_run(
            json.dumps([{"text": "done", "delayMs": 150}]), model="scripted/inline"
        )
        snapshot = (await run.poll(timeout=60)).run
        now = datetime.now(UTC)
        assert snapshot.finished_at is not None  # noqa: S101 # it was polled to its end
        return (now - snapshot.finished_at).total_seconds()

    async def history_bytes(self, steps: int) -> int:
        """Bytes of Temporal history of a run with that many calls."""
        run = await self._client.create_run(
            script(steps), model="scripted/inline", functions=["bench_echo"]
        )
        await run.poll(timeout=120)
        handle = self._temporal.get_workflow_handle(f"run/{self._stack.cluster_id}/{run.id}")
        description = await handle.describe()
        return description.raw_description.workflow_execution_info.history_size_bytes


async def wait_for_function(stack: Stack) -> None:
    """Until the function worker is registered."""
    headers = {"authorization": f"Bearer {stack.api_key}"}
    async with httpx2.AsyncClient(base_url=stack.url, headers=headers, timeout=10) as client:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            answer = await client.get(f"/clusters/{stack.cluster_id}/services")
            if any(service["name"] == "bench" for service in answer.json()["items"]):
                return
    raise RuntimeError("the benchmark's function worker did not register")
