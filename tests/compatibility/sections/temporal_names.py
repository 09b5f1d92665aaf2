"""Names in workflow histories and open executions: needed to replay, signal and poll them."""

from __future__ import annotations

import ast

from orchestrator.rules.lifecycle import Trigger
from orchestrator.store.calls.rows import task_queue_name
from orchestrator.temporal.activity_tasks import (
    FUNCTION_FAILED,
    NOT_DELIVERED,
    PROCESS_LOST,
    UNWANTED,
)
from orchestrator.temporal.client import TASK_QUEUE, delivery_workflow_id, run_workflow_id
from orchestrator.temporal.payload_encryption import ENCODING
from orchestrator.workflows.interface import WEBHOOK_QUEUE, RunRef, activity_id
from tests.compatibility.comparison import Json
from tests.compatibility.sections.source import SERVER, nodes, text_of
from tests.compatibility.sections.temporal_definitions import activities, workflows

_RUN = RunRef("{cluster}", "{run}")


def temporal_names() -> Json:
    """Types, handlers, task queues, ids and failure types. There are no search attributes."""
    return {
        "workflows": {
            name: {
                "signals": sorted(map(str, definition.signals)),
                "queries": sorted(map(str, definition.queries)),
                "updates": sorted(map(str, definition.updates)),
            }
            for name, definition in workflows().items()
        },
        "activities": sorted(filter(None, activities())),
        "dynamic activity": None in activities(),
        "task queues": [
            TASK_QUEUE,
            WEBHOOK_QUEUE,
            task_queue_name("{cluster}", "{service}", "{function}"),
        ],
        "workflow ids": [run_workflow_id(_RUN), delivery_workflow_id(_RUN)],
        "activity ids of calls": [activity_id("{call}", 0), activity_id("{call}", 2)],
        "failure types": sorted(
            {FUNCTION_FAILED, NOT_DELIVERED, PROCESS_LOST, UNWANTED, *_raised()}
        ),
        "triggers of status transitions": [move.value for move in Trigger],
        "encoding of encrypted payloads": ENCODING.decode(),
    }


def _raised() -> set[str]:
    """Failure types that are literals where the error is raised."""
    return {
        text
        for node in nodes(*SERVER)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "ApplicationError"
        for keyword in node.keywords
        if keyword.arg == "type" and (text := text_of(keyword.value)) is not None
    }
