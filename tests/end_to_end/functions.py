"""Functions in a process of their own that write down what they did."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from perdure import ApprovalRequest, Context, Service, StatusChange, approval_request

DIARY = "PERDURE_TEST_DIARY"

service = Service("e2e")


def write_diary(kind: str, **facts: object) -> None:
    with Path(os.environ[DIARY]).open("a") as diary:
        diary.write(json.dumps({"kind": kind, **facts}) + "\n")


@service.function(timeout=60, retries=5)
async def work(run: str, step: int, context: Context) -> str:
    """Take a moment, and say so."""
    write_diary("begun", run=run, step=step, call=context.call_id, attempt=context.attempt)
    await asyncio.sleep(0.15)
    write_diary("ended", run=run, step=step, call=context.call_id, attempt=context.attempt)
    return f"{run}/{step}"


@service.function(timeout=60)
async def raises() -> str:
    """Fail as functions do."""
    raise ValueError("the stock is empty")


@service.function(timeout=2)
async def hangs() -> str:
    """Never return."""
    await asyncio.Event().wait()
    return "never"


@service.function(timeout=60, retries=1)
def exits(run: str) -> str:
    """End the process the first time."""
    write_diary("begun", run=run)
    if sum(1 for line in Path(os.environ[DIARY]).read_text().splitlines() if run in line) == 1:
        os._exit(3)
    return "second time"


@service.function(timeout=60)
async def returns(size: int) -> str:
    """Return so many characters."""
    return "abcdefghij" * (size // 10)


@service.function(timeout=60)
async def returns_an_object() -> object:
    """Return what JSON does not know."""
    return object()


@service.function(timeout=60)
async def waits(run: str, context: Context) -> str:
    """Run until cancelled."""
    write_diary("begun", run=run)
    try:
        await asyncio.Event().wait()
    finally:
        write_diary("cancelled", run=run, cancelled=context.cancelled.is_set())
    return "never"


@service.function(timeout=60)
async def asks(run: str, amount: int, context: Context) -> str | ApprovalRequest:
    """Ask a person first."""
    write_diary("begun", run=run, call=context.call_id, approved=context.approved, amount=amount)
    if not context.approved:
        return approval_request(f"Pay {amount}?")
    return f"paid {amount}"


@service.on_status_change
async def on_status(change: StatusChange) -> None:
    write_diary(
        "on_status",
        run=change.run_id,
        id=change.id,
        transition=change.transition,
        status=change.status,
    )


if __name__ == "__main__":
    service.run()
