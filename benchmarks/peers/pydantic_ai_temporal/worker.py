"""The Temporal worker: the workflow, the agent's model activity and its tool activity. `worker.py ADDRESS NAMESPACE`."""

from __future__ import annotations

import asyncio
import sys

from pydantic_ai.durable_exec.temporal import PydanticAIPlugin, PydanticAIWorkflow
from pydantic_ai.usage import UsageLimits
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import PollerBehaviorSimpleMaximum, Worker

with workflow.unsafe.imports_passed_through():
    from agent import agent
    from peerkit.processes import say_ready

QUEUE = "peer-pydantic-ai"


@workflow.defn(name="peer_pydantic_ai")
class PeerRun(PydanticAIWorkflow):
    """One run of the agent."""

    __pydantic_ai_agents__ = (agent,)

    @workflow.run
    async def run(self, steps: int) -> str:
        result = await agent.run(str(steps), usage_limits=UsageLimits(request_limit=None))
        return result.output


async def serve(address: str, namespace: str) -> None:
    """Be the worker until the process is ended. As many pollers as Perdure's worker and the raw loop's have."""
    client = await Client.connect(address, namespace=namespace, plugins=[PydanticAIPlugin()])
    async with Worker(
        client,
        task_queue=QUEUE,
        workflows=[PeerRun],
        workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(20),
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(20),
    ):
        say_ready()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:3]))
