"""pydantic-ai on Temporal: starts workflows and waits for them; the worker is a process beside."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from peerkit.orders import RunOnce, Surroundings, main
from peerkit.temporal_starter import starting
from pydantic_ai.durable_exec.temporal import PydanticAIPlugin


def peer(where: Surroundings) -> AbstractAsyncContextManager[RunOnce]:
    return starting(
        where,
        worker=Path(__file__).with_name("worker.py"),
        workflow="peer_pydantic_ai",
        queue="peer-pydantic-ai",
        plugins=[PydanticAIPlugin()],
    )


if __name__ == "__main__":
    main(peer)
