"""Functions in a process of their own, good and poisonous, that write down what they do.

`PERDURE_TEST_DIE_AT=executing` or `=done` has the process kill itself once, in the middle of `work` or after it, before
the result is posted; the file `PERDURE_TEST_DIE_ONCE` remembers that it did.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import sys
import time
from pathlib import Path

from pydantic import BaseModel, model_serializer

from perdure import Context, Service, StatusChange
from perdure.worker.worker import serve
from tests.faults.ground.diary import DIARY, append

READY = "PERDURE_TEST_READY"
SERVICE = "PERDURE_TEST_SERVICE"
"""Which service a process serves: `faults`, or `rare`."""
DEADLINE = 9.0
"""Seconds for which a call of `hurried` waits for somebody."""
MEMORY = 2 * 1024**3
"""Bytes of address space that this process may have: a function that eats memory fails, not the machine."""
LIMIT = "PERDURE_TEST_MEMORY"
"""Bytes for a process of somebody else's that hosts these functions."""

service = Service("faults")
rare = Service("rare")


def die_once(point: str) -> None:
    """Kill this process at the point that the environment names, the first time."""
    if os.environ.get("PERDURE_TEST_DIE_AT") != point:
        return
    try:
        Path(os.environ["PERDURE_TEST_DIE_ONCE"]).touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


class Worked(BaseModel):
    """What `work` returns. It is written as JSON after the function has ended and before anything is posted."""

    text: str

    @model_serializer
    def written(self) -> str:
        die_once("done")
        return self.text


@service.function(timeout=60, retries=5)
async def work(run: str, step: int, context: Context, milliseconds: int = 30) -> Worked:
    """Take a moment, and say so."""
    append(DIARY, kind="begun", run=run, step=step, call=context.call_id, attempt=context.attempt)
    await asyncio.sleep(milliseconds / 2000)
    die_once("executing")
    await asyncio.sleep(milliseconds / 2000)
    append(DIARY, kind="ended", run=run, step=step, call=context.call_id, attempt=context.attempt)
    return Worked(text=f"{run}/{step}")


@service.function(timeout=60, requires_approval=True)
async def careful(run: str, step: int, context: Context) -> str:
    """Do what a person has to approve first."""
    append(DIARY, kind="begun", run=run, step=step, call=context.call_id, attempt=context.attempt)
    return f"approved {run}/{step}"


@service.function(timeout=60)
async def returns(run: str, step: int, size: int) -> str:
    """Return so many characters."""
    return "abcdefghij" * (size // 10)


@service.function(timeout=60, retries=1)
async def raises(run: str, step: int, context: Context) -> str:
    """Fail as functions do."""
    append(DIARY, kind="begun", run=run, step=step, call=context.call_id, attempt=context.attempt)
    raise ValueError("the stock is empty")


@service.function(timeout=60, retries=1)
def exits(run: str, step: int, context: Context) -> str:
    """End the process, each time."""
    append(DIARY, kind="begun", run=run, step=step, call=context.call_id, attempt=context.attempt)
    os._exit(3)


@service.function(timeout=60, retries=1)
def segfaults(run: str, step: int, context: Context) -> str:
    """Read where nothing is."""
    append(DIARY, kind="begun", run=run, step=step, call=context.call_id, attempt=context.attempt)
    return str(ctypes.string_at(0))


@service.function(timeout=60)
def eats(run: str, step: int, context: Context) -> str:
    """Take memory until there is none."""
    append(DIARY, kind="begun", run=run, step=step, call=context.call_id, attempt=context.attempt)
    held: list[bytearray] = []
    while True:
        held.append(bytearray(64 * 1024 * 1024))


@service.function(timeout=3)
def hangs(run: str, step: int, context: Context) -> str:
    """Never return, deaf to being cancelled."""
    append(DIARY, kind="begun", run=run, step=step, call=context.call_id, attempt=context.attempt)
    while True:
        time.sleep(60)


@service.function(timeout=120)
def prints(run: str, step: int, gigabytes: float, context: Context) -> str:
    """Write a lot to standard output."""
    append(DIARY, kind="begun", run=run, step=step, call=context.call_id, attempt=context.attempt)
    line = "x" * 1_048_575 + "\n"
    for _ in range(int(gigabytes * 1024)):
        sys.stdout.write(line)
    return "printed"


@rare.function(timeout=60)
async def patient(run: str, step: int, context: Context) -> str:
    """Be waited for as long as it takes."""
    append(DIARY, kind="begun", run=run, step=step, call=context.call_id, attempt=context.attempt)
    return f"at last {run}/{step}"


@rare.function(timeout=5, deadline=DEADLINE)
async def hurried(run: str, step: int, context: Context) -> str:
    """Be waited for some seconds only."""
    append(DIARY, kind="begun", run=run, step=step, call=context.call_id, attempt=context.attempt)
    return f"in time {run}/{step}"


@service.on_status_change
async def on_status(change: StatusChange) -> None:
    """The handler of every run."""
    append(
        DIARY,
        kind="on_status",
        run=change.run_id,
        transition=change.transition,
        status=change.status,
    )


def _write_ready() -> None:
    Path(os.environ[READY]).write_text(str(os.getpid()))


if hosted_limit := os.environ.get(LIMIT):
    resource.setrlimit(resource.RLIMIT_AS, (int(hosted_limit), int(hosted_limit)))

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    served = rare if os.environ.get(SERVICE) == rare.name else service
    serve([served], when_ready=_write_ready)
