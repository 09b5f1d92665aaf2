"""What the server gave to a process is known by the process's name, and goes to another one when it is given back."""

from __future__ import annotations

import asyncio
import secrets

import pytest
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import PollActivityTaskQueueRequest
from temporalio.client import Client
from temporalio.worker import Worker

from orchestrator.settings import Settings
from orchestrator.temporal.activity_tasks import PROCESS_LOST, ActivityTaskClient, StartedActivity
from orchestrator.temporal.client import Temporal, run_workflow_id
from orchestrator.workflows.interface import MODEL_STEP, RunRef
from orchestrator.workflows.run_workflow import RunWorkflow
from tests.orchestrator.workflows.sandbox import sandboxed_runner

pytestmark = pytest.mark.timeout(60)


async def _poll(client: Client, queue: str, process: str) -> int:
    """Take an activity from the queue, and begin nothing; its attempt."""
    request = PollActivityTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=queue), identity=process
    )
    async with asyncio.timeout(30):
        while True:
            task = await client.workflow_service.poll_activity_task_queue(request)
            if task.task_token:
                return task.attempt


async def test_what_a_dead_process_was_given_goes_to_another_one(
    temporal_client: Client,
) -> None:
    client = temporal_client
    queue, ref = secrets.token_hex(4), RunRef("a-cluster", secrets.token_hex(4))
    workflow_id, tasks = (
        run_workflow_id(ref),
        ActivityTaskClient(Temporal(Settings(), client), "tests"),
    )
    async with Worker(
        client, task_queue=queue, workflows=[RunWorkflow], workflow_runner=sandboxed_runner()
    ):
        handle = await client.start_workflow(RunWorkflow.run, ref, id=workflow_id, task_queue=queue)
        assert await _poll(client, queue, "the dead") == 1
        assert await tasks.started_by("another", workflow_id) == []
        (task,) = await tasks.started_by("the dead", workflow_id)
        assert task == StartedActivity(workflow_id, task.activity_id, MODEL_STEP, 1)
        assert await tasks.fail_by_id(task, PROCESS_LOST, "its process died", delay=0.05)
        assert await _poll(client, queue, "the living") == 2
        assert await tasks.started_by("the dead", workflow_id) == []
        await handle.terminate()
    assert not await tasks.fail_by_id(task, PROCESS_LOST, "its process died", delay=0.05)
    assert await tasks.started_by("the dead", "there is no such workflow") == []
