"""A worker for the length of a test."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from perdure import AsyncPerdure, Service, Worker
from perdure.worker.worker import WorkerSettings

FAST = WorkerSettings(
    poll_seconds=5,
    heartbeat_seconds=0.05,
    grace_seconds=2,
    first_delay=0.02,
    longest_delay=0.1,
    refused_delay=0.1,
)


@asynccontextmanager
async def serving(
    client: AsyncPerdure, *services: Service, settings: WorkerSettings = FAST
) -> AsyncGenerator[Worker]:
    worker = Worker(services, client, settings)
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop()
