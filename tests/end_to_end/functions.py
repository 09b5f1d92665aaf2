"""Functions in a process of their own that write down what they did."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from perdure import Context, Service, StatusChange

DIARY = "PERDURE_TEST_DIARY"

service = Service("e2e")


def note(kind: str, **facts: object) -> None:
    with Path(os.environ[DIARY]).open("a") as diary:
        diary.write(json.dumps({"kind": kind, **facts}) + "\n")


@service.function(timeout=60, retries=5)
async def work(run: str, step: int, context: Context) -> str:
    """Take a moment, and say so."""
    note("begun", run=run, step=step, call=context.call_id, attempt=context.attempt)
    await asyncio.sleep(0.15)
    note("ended", run=run, step=step, call=context.call_id, attempt=context.attempt)
    return f"{run}/{step}"


@service.on_status_change
async def told(change: StatusChange) -> None:
    note(
        "told", run=change.run_id, id=change.id, transition=change.transition, status=change.status
    )


if __name__ == "__main__":
    service.run()
