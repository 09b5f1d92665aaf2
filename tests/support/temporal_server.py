"""A real Temporal server, the one that users get: in memory, on loopback, one per module."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager

import pytest
from temporalio.client import Client

from orchestrator.settings import Settings
from orchestrator.temporal.client import data_converter
from perdure.dev.plan import find_temporal, temporal_environment
from perdure.dev.ports import LOOPBACK, free_port

SUGGESTED_EVENTS = 60
"""Events after which the server suggests to continue as new; 4,096 outside tests."""
IDENTITY = "tests"
"""What workers and clients call themselves, so that recorded histories name no machine."""

_SETTINGS = {
    "history.transferProcessorMaxPollRPS": 2000,
    "limit.historyCount.suggestContinueAsNew": SUGGESTED_EVENTS,
    "matching.numTaskqueueReadPartitions": 1,
    "matching.numTaskqueueWritePartitions": 1,
    "matching.TaskQueueInfoByBuildIdTTL": '"0s"',
}
_START_SECONDS = 30.0


@contextmanager
def temporal_server() -> Generator[str]:
    """Start a server; its address, where it answers soon."""
    port = free_port()
    command = [
        *(str(find_temporal()), "server", "start-dev", "--headless", "--log-level", "error"),
        *("--ip", LOOPBACK, "--port", str(port)),
    ]
    for name, value in _SETTINGS.items():
        command += ["--dynamic-config-value", f"{name}={value}"]
    process = subprocess.Popen(
        command, env=temporal_environment(os.environ), stdout=subprocess.DEVNULL
    )
    try:
        yield f"{LOOPBACK}:{port}"
    finally:
        process.terminate()
        process.wait()


async def connected(address: str) -> Client:
    """A client, once the server answers."""
    async with asyncio.timeout(_START_SECONDS):
        while True:
            try:
                return await Client.connect(
                    address, identity=IDENTITY, data_converter=data_converter(Settings())
                )
            except RuntimeError:  # still on its way
                await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def temporal_address() -> Generator[str]:
    """Where the module's server listens. All workers poll one task queue: they would take tasks that another module left."""
    with temporal_server() as address:
        yield address


@pytest.fixture
async def temporal_client(temporal_address: str) -> Client:
    return await connected(temporal_address)
