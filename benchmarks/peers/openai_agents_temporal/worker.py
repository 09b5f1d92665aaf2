"""The Temporal worker: the workflow, the plugin's model activity and the tool. `worker.py ADDRESS NAMESPACE`."""

from __future__ import annotations

import asyncio
import sys

from temporalio import workflow
from temporalio.client import Client
from temporalio.openai_agents import OpenAIAgentsPlugin
from temporalio.openai_agents.testing import TestModelProvider
from temporalio.worker import PollerBehaviorSimpleMaximum, Worker

with workflow.unsafe.imports_passed_through():
    from agent import ScriptedModel, look_up, new_agent
    from agents import Runner
    from peerkit.processes import say_ready

QUEUE = "peer-openai-agents"


@workflow.defn(name="peer_openai_agents")
class PeerRun:
    """One run of the agent."""

    @workflow.run
    async def run(self, steps: int) -> str:
        result = await Runner.run(new_agent(), str(steps), max_turns=steps + 1)
        return result.final_output


async def serve(address: str, namespace: str) -> None:
    """Be the worker until the process is ended. As many pollers as Perdure's worker and the raw loop's have."""
    plugin = OpenAIAgentsPlugin(model_provider=TestModelProvider(ScriptedModel()))
    client = await Client.connect(address, namespace=namespace, plugins=[plugin])
    async with Worker(
        client,
        task_queue=QUEUE,
        workflows=[PeerRun],
        activities=[look_up],
        workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(20),
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(20),
    ):
        say_ready()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:3]))
