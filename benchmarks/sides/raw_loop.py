"""The least that a durable agent loop can be on Temporal: one model activity and one tool activity per step.

Run as `python -m benchmarks.sides.raw_loop ADDRESS` it is the worker process that serves both.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import PollerBehaviorSimpleMaximum, Worker

QUEUE = "benchmark-raw-loop"
_TIMEOUT = timedelta(seconds=30)


@dataclass
class Ask:
    """What the model is asked: how far the loop is, and the last tool's answer."""

    step: int
    last: str


@activity.defn(name="raw_model")
async def model(question: Ask) -> str:
    """A scripted model: always wants the tool."""
    return f"call {question.step}"


@activity.defn(name="raw_tool")
async def tool(wanted: str) -> str:
    """A tool that does nothing."""
    return f"result of {wanted}"


@workflow.defn(name="raw_loop")
class RawLoop:
    """`steps` times: ask the model, call the tool."""

    @workflow.run
    async def run(self, steps: int) -> str:
        last = ""
        for step in range(steps):
            wanted = await workflow.execute_activity(
                model, Ask(step, last), start_to_close_timeout=_TIMEOUT
            )
            last = await workflow.execute_activity(tool, wanted, start_to_close_timeout=_TIMEOUT)
        return last


async def serve(address: str) -> None:
    """Be the worker until the process is ended. The same poller settings as Perdure's worker."""
    client = await Client.connect(address)
    async with Worker(
        client,
        task_queue=QUEUE,
        workflows=[RawLoop],
        activities=[model, tool],
        workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(20),
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(20),
    ):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
