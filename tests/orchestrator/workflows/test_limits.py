"""What the workflow makes of budgets and priorities, and what Temporal's server makes of the latter."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import WorkflowHistory
from temporalio.worker import Worker

from orchestrator.workflows.interface import CallRef, CallSchedule, ModelStepInput, RunState
from tests.orchestrator.workflows.play import Play, commands
from tests.orchestrator.workflows.scenarios import limits as scenarios
from tests.support.temporal_server import IDENTITY


async def test_a_run_over_its_budget_ends_its_execution(play: Play) -> None:
    assert commands(await scenarios.paused_for_its_budget(play)) == ["think"]


async def test_a_raised_budget_lets_the_calls_go_that_waited(play: Play) -> None:
    assert commands(await scenarios.resumed_with_more(play)) == ["think", "sales_query", "think"]
    assert CallRef(play.ref, "waited") in play.asked
    assert [a for a in play.asked if isinstance(a, ModelStepInput)][-1].step == 2


async def _backlog(play: Play, queue: str, tasks: int) -> None:
    """Wait until so many tasks wait for somebody who takes them."""
    question = DescribeTaskQueueRequest(
        namespace=play.client.namespace,
        task_queue=TaskQueue(name=queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
        report_stats=True,
    )
    async with asyncio.timeout(10):
        while True:
            answer = await play.client.workflow_service.describe_task_queue(question)
            if answer.stats.approximate_backlog_count == tasks:
                return
            await asyncio.sleep(0.02)


def _priorities(histories: list[WorkflowHistory]) -> list[int]:
    """Of the execution and of every activity it asked for."""
    (history,) = histories
    first = history.events[0].workflow_execution_started_event_attributes
    scheduled = [
        event.activity_task_scheduled_event_attributes
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    return [first.priority.priority_key, *(one.priority.priority_key for one in scheduled)]


async def test_an_urgent_run_is_urgent_in_all_it_asks_for(play: Play) -> None:
    execution, first_step, call, second_step = _priorities(await scenarios.an_urgent_run(play))
    assert (execution, call, second_step) == (1, 1, 1)
    assert first_step in {0, 1}  # 0: as urgent as the execution


@pytest.mark.parametrize(
    ("priorities", "order"),
    [
        ({"last": 5, "usual": 0, "first": 1}, ["first", "usual", "last"]),
        ({"first": 1, "usual": 0, "last": 5}, ["first", "usual", "last"]),
    ],
)
async def test_one_function_worker_with_one_slot_takes_the_most_urgent_call_first(
    play: Play, priorities: dict[str, int], order: list[str]
) -> None:
    queue = f"{play.queue}/narrow"

    def waiting(call_id: str) -> CallSchedule:
        return replace(play.order(call_id), queue=queue, priority=priorities[call_id])

    calls = [waiting(call_id) for call_id in priorities]
    play.states += [RunState("running", 1, calls), RunState("done", 2)]
    await play.temporal.start_run(play.ref)
    await _backlog(play, queue, len(calls))
    narrow = Worker(
        play.client,
        task_queue=queue,
        identity=IDENTITY,
        activities=[play.call],
        max_concurrent_activities=1,
    )
    async with narrow:
        await play.run_ended()
    made = [asked.call_id for asked in play.asked if isinstance(asked, CallRef)]
    assert made == order
