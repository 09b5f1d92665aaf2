"""The sides that are compared: the raw loop, and runs through Perdure's API."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import Any, Protocol

import httpx2
from temporalio.client import Client

from benchmarks.sides.raw_loop import QUEUE
from benchmarks.sides.stack import Stack
from perdure import AsyncPerdure, AsyncRun

MODEL = "scripted/calls"


class Side(Protocol):
    """Somebody who runs an agent loop durably."""

    @property
    def name(self) -> str:
        """As it stands in the figures."""
        ...

    async def play(self, steps: int, runs: int = 1) -> float:
        """Seconds that so many runs at once take, each of so many steps with a call; from the first start to the last
        result. Raises RuntimeError when a run ends wrongly."""
        ...


class RawSide:
    """Workflows of the raw loop, started and awaited over Temporal's own client."""

    name = "raw"

    def __init__(self, client: Client) -> None:
        self._client = client

    async def play(self, steps: int, runs: int = 1) -> float:
        started = time.perf_counter()
        await asyncio.gather(*(self.run(steps) for _ in range(runs)))
        return time.perf_counter() - started

    async def run(self, steps: int) -> str:
        """Carry out one loop; its workflow id."""
        workflow_id = f"raw-{uuid.uuid4()}"
        result: str = await self._client.execute_workflow(
            "raw_loop", steps, id=workflow_id, task_queue=QUEUE, result_type=str
        )
        if not result.startswith("result of"):
            raise RuntimeError(f"the raw loop ended with {result!r}")
        return workflow_id


class PerdureSide:
    """Runs through the API. `service` says where the function is: in a process of its own, or hosted."""

    def __init__(self, name: str, client: AsyncPerdure, stack: Stack, service: str) -> None:
        self.name = name
        self.function = f"{service}_echo"
        self._client = client
        self._stack = stack

    async def play(self, steps: int, runs: int = 1) -> float:
        started = time.perf_counter()
        await asyncio.gather(*(self.run(steps) for _ in range(runs)))
        return time.perf_counter() - started

    async def create(self, steps: int, *, size: int = 0, delay_ms: int = 0) -> AsyncRun[Any]:
        """Create a run of that many steps; results of `size` characters."""
        asked = {"function": self.function, "steps": steps, "size": size, "delayMs": delay_ms}
        return await self._client.create_run(
            json.dumps(asked), model=MODEL, functions=[self.function], call_summarization=False
        )

    async def run(
        self, steps: int, *, size: int = 0, delay_ms: int = 0, patience: float = 300
    ) -> AsyncRun[Any]:
        """Carry out a run to its end. Raises RuntimeError when it ends otherwise than it should."""
        run = await self.create(steps, size=size, delay_ms=delay_ms)
        result = (await run.poll(timeout=patience)).result
        if result != "done":
            raise RuntimeError(f"a run of {self.name} ended with {result!r}")
        return run

    def workflow_id(self, run: AsyncRun[Any]) -> str:
        """Of the run's workflow in Temporal."""
        return f"run/{self._stack.cluster_id}/{run.id}"


async def wait_for_service(stack: Stack, name: str, seconds: float = 15) -> bool:
    """Whether a service is registered, or will be within that time."""
    async with httpx2.AsyncClient(base_url=stack.url, headers=stack.headers, timeout=10) as client:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            answer = await client.get(f"/clusters/{stack.cluster_id}/services")
            if any(service["name"] == name for service in answer.json()["items"]):
                return True
            await asyncio.sleep(0.1)
    return False
