"""What must have become of everything that a run was asked after it began: a rule of the checker."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from perdure.contract import RunStatus
from tests.faults.checker.evidence import Evidence, Row

SENT, EDITED, CANCELLED, APPROVED, DENIED = "sent", "edited", "cancelled", "approved", "denied"
"""The kinds of requests."""


def requests(evidence: Evidence) -> Iterator[tuple[str, str]]:
    """A message that was taken was read, a cancelled run is cancelled, an approved call was made and a denied one not."""
    for request in evidence.requests:
        (run,) = evidence.of(evidence.runs, request["run"])
        wrong = _WRONG[request["kind"]](evidence, run, request)
        if wrong:
            yield request["run"], wrong


def _message(evidence: Evidence, run: Row, request: Row) -> str:
    rows = [
        row
        for row in evidence.of(evidence.messages, request["run"])
        if row["id"] == request["id"] and row["replaced_by"] is None
    ]
    if len(rows) != 1:
        return f"message {request['id']} was taken and is there {len(rows)} times"
    if request["text"] not in rows[0]["data"]:
        return f"message {request['id']} does not say {request['text']!r}"
    if run["status"] == RunStatus.DONE.value and rows[0]["key"] > run["seen_message"]:
        return f"is done, and the model has not read message {request['id']}"
    return ""


def _cancel(evidence: Evidence, run: Row, request: Row) -> str:
    if run["status"] == RunStatus.CANCELLED.value:
        return ""
    return f"was to be cancelled and is {run['status']}"


def _decision(evidence: Evidence, run: Row, request: Row) -> str:
    (call,) = [row for row in evidence.calls if row["id"] == request["id"]]
    begun = [
        line for line in evidence.diary if line["kind"] == "begun" and line["call"] == request["id"]
    ]
    approved = request["kind"] == APPROVED
    if call["approved"] is not approved:
        return f"call {request['id']} was {request['kind']}; the store says approved: {call['approved']}"
    if not approved and begun:
        return f"call {request['id']} was denied and made"
    if approved and not call["attempts"] and run["status"] == RunStatus.DONE.value:
        return f"call {request['id']} was approved and given to nobody"
    return ""


_WRONG: dict[str, Callable[[Evidence, Row, Row], str]] = {
    SENT: _message,
    EDITED: _message,
    CANCELLED: _cancel,
    APPROVED: _decision,
    DENIED: _decision,
}
