"""The embedded Temporal server: what it accepted outlives its own death and the supervisor's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from tests.stack.driver import WAIT_SECONDS, Dev

pytestmark = pytest.mark.timeout(90)


async def start_workflow(address: str, workflow_id: str) -> None:
    client = await _connected(address)
    await client.start_workflow("Nobody", id=workflow_id, task_queue="nobody-listens")


async def status_of(address: str, workflow_id: str) -> WorkflowExecutionStatus | None:
    """What the server says once it answers again."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            client = await _connected(address)
            with contextlib.suppress(RPCError):  # still on its way
                return (await client.get_workflow_handle(workflow_id).describe()).status
            await asyncio.sleep(0.05)


async def _connected(address: str) -> Client:
    """A client of a server that may just be starting: the stand-ins beside it are ready at once."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            with contextlib.suppress(RuntimeError):
                return await Client.connect(address)
            await asyncio.sleep(0.05)


async def test_a_killed_server_comes_back_at_its_address_with_its_workflows(dev: Dev) -> None:
    dev.start_ready()
    address = dev.connection["temporalAddress"]
    await start_workflow(address, "waits")
    old = dev.pids()["temporal"]
    os.kill(old, signal.SIGKILL)
    dev.new_pid("temporal", old)
    assert await status_of(address, "waits") is WorkflowExecutionStatus.RUNNING


async def test_workflows_outlive_the_supervisor(dev: Dev) -> None:
    first = dev.start_ready()
    await start_workflow(dev.connection["temporalAddress"], "waits")
    first.kill()
    first.wait()
    dev.start_ready()
    address = dev.connection["temporalAddress"]
    assert await status_of(address, "waits") is WorkflowExecutionStatus.RUNNING
