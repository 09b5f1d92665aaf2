"""The service that the Restate server calls: the agent, each model step and each call a step of its journal.

`service.py PORT`
"""

from __future__ import annotations

import asyncio
import sys

import restate
from hypercorn.asyncio import serve
from hypercorn.config import Config
from peerkit.processes import say_ready
from peerkit.pydantic_ai_job import look_up, scripted_model
from pydantic_ai import Agent
from pydantic_ai.usage import UsageLimits
from restate.ext.pydantic import RestateAgent

_NO_LIMIT = UsageLimits(request_limit=None)
agent = RestateAgent(Agent(scripted_model(), name="peer", tools=[look_up]), auto_wrap_tools=True)
service = restate.Service("Peer")


@service.handler()
async def run(_ctx: restate.Context, steps: int) -> str:
    """One run of the agent."""
    result = await agent.run(str(steps), usage_limits=_NO_LIMIT)
    return result.output


async def main(port: str) -> None:
    """Serve until stdin ends: Restate's own hook takes SIGTERM away from the server."""
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.h2_max_concurrent_streams = 1000
    config.graceful_timeout = 0.5

    async def end_of_stdin() -> None:
        await asyncio.to_thread(sys.stdin.read)

    say_ready()
    await serve(restate.app([service]), config, shutdown_trigger=end_of_stdin)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
