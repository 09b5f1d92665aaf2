"""Functions hosted in the Temporal worker of the stack; they write down what they did as the others do."""

from __future__ import annotations

import asyncio

from perdure import Context, Service, StatusChange
from tests.end_to_end.functions import write_diary

service = Service("inside")


@service.function(timeout=60, retries=5)
async def work(run: str, step: int, context: Context) -> str:
    """Take a moment, and say so."""
    write_diary("begun", run=run, step=step, call=context.call_id, attempt=context.attempt)
    await asyncio.sleep(0.15)
    write_diary("ended", run=run, step=step, call=context.call_id, attempt=context.attempt)
    return f"{run}/{step}"


@service.on_status_change
async def on_status(change: StatusChange) -> None:
    write_diary("on_status", run=change.run_id, id=change.id, transition=change.transition)


@service.function(timeout=600)
def double(number: int) -> int:
    """Twice the number. It may take long, so each call has an activity of its own."""
    return 2 * number
