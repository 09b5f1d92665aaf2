"""The half of a Temporal peer that starts workflows and waits for them; its worker is a process beside."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.client import Client, Plugin

from peerkit.orders import RunOnce, Surroundings
from peerkit.processes import script_beside


@asynccontextmanager
async def starting(
    where: Surroundings, *, worker: Path, workflow: str, queue: str, plugins: Sequence[Plugin]
) -> AsyncIterator[RunOnce]:
    """Run the worker's script, and start its workflow, whose input is the number of iterations."""
    address, namespace = where.temporal_address, where.temporal_namespace
    client = await Client.connect(address, namespace=namespace, plugins=plugins)

    async def run_once(steps: int) -> str:
        name = f"{queue}-{uuid.uuid4()}"
        return await client.execute_workflow(
            workflow, steps, id=name, task_queue=queue, result_type=str
        )

    async with script_beside(worker, address, namespace):
        yield run_once
