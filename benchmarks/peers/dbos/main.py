"""pydantic-ai on DBOS, which lives in the application's own process: workflows are started where they run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from dbos import DBOS, DBOSConfig
from peerkit.orders import RunOnce, Surroundings, main
from peerkit.processes import script_beside
from peerkit.pydantic_ai_job import look_up, scripted_model
from pydantic_ai import Agent
from pydantic_ai.durable_exec.dbos import DBOSDurability
from pydantic_ai.usage import UsageLimits

_NO_LIMIT = UsageLimits(request_limit=None)
agent = Agent(scripted_model(), name="peer", capabilities=[DBOSDurability()])


@agent.tool_plain(name="look_up")
@DBOS.step(name="look_up")
async def look_up_step(number: int) -> dict[str, int]:
    """Look a number up: its square."""
    return await look_up(number)


@DBOS.workflow(name="peer_run")
async def peer_run(steps: int) -> str:
    """One run of the agent."""
    result = await agent.run(str(steps), usage_limits=_NO_LIMIT)
    return result.output


@asynccontextmanager
async def peer(where: Surroundings) -> AsyncIterator[RunOnce]:
    async with _database(where) as url:
        DBOS(config=DBOSConfig(name="peer", system_database_url=url, log_level="WARNING"))
        DBOS.launch()
        try:
            yield _run_once
        finally:
            DBOS.destroy()


async def _run_once(steps: int) -> str:
    handle = await DBOS.start_workflow_async(peer_run, steps)
    return await handle.get_result()


@asynccontextmanager
async def _database(where: Surroundings) -> AsyncIterator[str]:
    if where.variant == "sqlite":
        yield f"sqlite:///{where.state_dir / 'dbos.sqlite'}"
        return
    script = Path(__file__).with_name("postgres.py")
    async with script_beside(script, tidies_up=True) as url:
        yield url


if __name__ == "__main__":
    main(peer)
