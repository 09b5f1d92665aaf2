"""A run workflow that looks before it thinks: what a careless change would make of running runs."""

from __future__ import annotations

import time
from datetime import timedelta

from temporalio import workflow

from orchestrator.workflows.interface import (
    READ_PENDING_REQUESTS,
    WAKE_SIGNAL,
    PendingRequests,
    RunRef,
)
from orchestrator.workflows.run_workflow import RUN_WORKFLOW


@workflow.defn(name=RUN_WORKFLOW)
class BrokenRunWorkflow:
    """Not what the histories were made with."""

    @workflow.signal(name=WAKE_SIGNAL)
    def wake(self) -> None:
        """Takes what is sent."""

    @workflow.run
    async def run(self, ref: RunRef) -> None:
        await workflow.execute_activity(
            READ_PENDING_REQUESTS,
            ref,
            result_type=PendingRequests,
            start_to_close_timeout=timedelta(seconds=30),
        )


@workflow.defn(name=RUN_WORKFLOW)
class HastyRunWorkflow:
    """Asks for the time, which is another one in a replay."""

    @workflow.run
    async def run(self, _: RunRef) -> float:
        return time.time()  # noqa: TID251 - what must not be done
