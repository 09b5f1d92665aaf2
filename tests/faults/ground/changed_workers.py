"""A Temporal worker after a deployment that changed the workflow's code without thinking of runs under way.

`python -m tests.faults.ground.changed_workers`: as `python -m workers`, but its workflow begins with a timer that no history has.
"""

from __future__ import annotations

import asyncio

from temporalio import workflow
from typing_extensions import override

from orchestrator.workflows.interface import RunRef
from orchestrator.workflows.run_workflow import RUN_WORKFLOW, RunWorkflow
from workers import __main__ as program


@workflow.defn(name=RUN_WORKFLOW)
class ChangedRunWorkflow(RunWorkflow):
    """Waits a moment first."""

    @workflow.run
    @override
    async def run(self, ref: RunRef) -> None:
        await asyncio.sleep(0.01)
        await super().run(ref)


if __name__ == "__main__":
    program.RunWorkflow = ChangedRunWorkflow
    asyncio.run(program._main())
