"""Events in Inferable's format. Pure."""

from __future__ import annotations

import re

from api.dialects.inferable.translation import Body

_EVENT_ID = re.compile(r"(?:[^:]*:)?(\d{1,16})")


def format_event(event: Body, run_id: str, *, with_meta: bool) -> Body:
    """An event. Its id consists of its run and its version; `meta` holds its data."""
    data = event["data"]
    return {
        "id": f"{run_id}:{event['version']:012d}",
        "type": event["type"],
        "createdAt": event["createdAt"],
        "machineId": data.get("machineId"),
        "service": data.get("service"),
        "jobId": data.get("callId"),
        "targetFn": data.get("function"),
        "resultType": data.get("resultType"),
        "status": data.get("status"),
        "workflowId": run_id,
        "meta": data if with_meta else None,
    }


def parse_version(event_id: str) -> int:
    """The version in an event's id; 0 where there is none."""
    found = _EVENT_ID.fullmatch(event_id)
    return int(found[1]) if found else 0
