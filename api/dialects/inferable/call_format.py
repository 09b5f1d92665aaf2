"""Calls and blobs in Inferable's format. Pure."""

from __future__ import annotations

import json

from api.dialects.inferable.run_format import format_status
from api.dialects.inferable.translation import Body

_OPEN = frozenset({"pending", "running"})


def format_call_status(status: str) -> str:
    """Inferable's statuses of a call: one that waits for approval is running."""
    return "running" if status == "interrupted" else status


def is_open(call: Body) -> bool:
    """Whether the call can still get a result."""
    return call["resultType"] is None and format_call_status(call["status"]) in _OPEN


def format_leased_call(call: Body) -> Body:
    """A leased call. The input of a handler's call uses Inferable's statuses."""
    if not call["handler"]:
        return call
    change = call["input"]
    return {**call, "input": {**change, "status": format_status(change["status"])}}


def format_direct_call(call: Body) -> Body:
    """A direct call, with its result."""
    return {
        "id": call["id"],
        "status": format_call_status(call["status"]),
        "result": call["result"],
        "resultType": call["resultType"],
    }


def format_job(call: Body) -> Body:
    """A call in a list."""
    approval = call["approval"]
    return {
        "id": call["id"],
        "status": format_call_status(call["status"]),
        "targetFn": call["function"],
        "service": call["service"],
        "executingMachineId": call["machineId"],
        "resultType": call["resultType"],
        "createdAt": call["createdAt"],
        "runId": call["runId"],
        "approved": bool(approval and approval["approved"]),
        "approvalRequested": approval is not None,
        "reasoning": call["reasoning"],
    }


def format_job_with_result(call: Body) -> Body:
    """A call with its input and result, each as a JSON text."""
    return {
        **format_job(call),
        "targetArgs": _pack(call["input"]),
        "result": None if call["resultType"] is None else _pack(call["result"]),
        "blobs": [format_blob(blob, call["runId"]) for blob in call["blobs"]],
    }


def _pack(value: object) -> str:
    return json.dumps({"value": value}, separators=(",", ":"))


def format_blob(blob: Body, run_id: str) -> Body:
    """A blob without its content."""
    return {**blob, "encoding": "base64", "jobId": blob["callId"], "workflowId": run_id}
