"""The sandbox in which the tests play and replay workflows: there the time, chance and the network are out of reach."""

from __future__ import annotations

import sys

from temporalio.worker import WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from orchestrator.workflows import delivery_workflow, function_calls, run_workflow

_OWN = frozenset(module.__name__ for module in (run_workflow, delivery_workflow, function_calls))
"""What speaks to Temporal is imported anew for each run, and held to the rules; what it stands on passes through."""


def sandboxed_runner() -> WorkflowRunner:
    """A sandbox for `orchestrator.workflows.run_workflow`. A step aside from what can be replayed fails the workflow's task."""
    ours = {name for name in sys.modules if name.startswith("orchestrator.")}
    restrictions = SandboxRestrictions.default.with_passthrough_modules(
        *(ours - _OWN),
        "perdure",
        "pydantic",
        "pydantic_core",
        "annotated_types",
        "typing_inspection",
    )
    return SandboxedWorkflowRunner(restrictions=restrictions)
