"""LangGraph's development server beside: each run is a thread of its own, asked for over HTTP by LangGraph's client."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from langgraph_sdk import get_client
from peerkit.orders import RunOnce, Surroundings, main
from peerkit.processes import beside, free_port, until

_QUIETLY = {"LOG_LEVEL": "WARNING", "LOG_COLOR": "false"}
_RUN_SECONDS = 170.0
_MAX_CONCURRENT = "100"
"""As many runs at once as the raw loop's worker takes activities."""


@asynccontextmanager
async def peer(where: Surroundings) -> AsyncIterator[RunOnce]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    quietly = ("--no-browser", "--no-reload", "--server-log-level", "warning")
    serving = ("--host", "127.0.0.1", "--port", str(port), "--n-jobs-per-worker", _MAX_CONCURRENT)
    command = (sys.executable, "-m", "langgraph_cli", "dev", *serving, *quietly)
    # It keeps its pickled memory in a folder of the working folder.
    folder = _application(where.state_dir)
    async with beside(*command, environment=_QUIETLY, folder=folder) as server:
        await until(lambda: _answers(f"{url}/ok"), server, "langgraph dev")
        client = get_client(url=url, api_key=None, timeout=_RUN_SECONDS)

        async def run_once(steps: int) -> str:
            thread = await client.threads.create()
            state = await client.runs.wait(
                thread["thread_id"],
                "peer",
                input={"messages": [{"role": "user", "content": str(steps)}]},
                config={"recursion_limit": 2 * steps + 5},
                raise_error=True,
            )
            return state["messages"][-1]["content"]

        yield run_once


def _application(folder: Path) -> Path:
    shutil.copy(Path(__file__).with_name("graph.py"), folder / "graph.py")
    settings = {"dependencies": ["."], "graphs": {"peer": "./graph.py:graph"}}
    (folder / "langgraph.json").write_text(json.dumps(settings))
    return folder


async def _answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(url, timeout=2)).is_success
    except httpx.HTTPError:
        return False


if __name__ == "__main__":
    main(peer)
