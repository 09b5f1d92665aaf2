"""OpenAI's Agents SDK on Temporal: starts workflows and waits for them; the worker is a process beside."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from peerkit.orders import RunOnce, Surroundings, main
from peerkit.temporal_starter import starting
from temporalio.openai_agents import OpenAIAgentsPlugin


def peer(where: Surroundings) -> AbstractAsyncContextManager[RunOnce]:
    return starting(
        where,
        worker=Path(__file__).with_name("worker.py"),
        workflow="peer_openai_agents",
        queue="peer-openai-agents",
        plugins=[OpenAIAgentsPlugin(register_activities=False)],
    )


if __name__ == "__main__":
    main(peer)
