"""How much memory a run costs a worker while it waits: `parked_runs.py <address>` prints KB per run.

A process of its own, so that nothing else grows or shrinks meanwhile.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys

import psutil

from orchestrator.temporal.client import workflow_runner
from orchestrator.workflows.interface import RunRef, RunState
from tests.orchestrator.workflows.play import CALL, Play
from tests.support.temporal_server import connected

_WARM_UP = 60
_COUNTED = 200


def _resident_kb() -> float:
    gc.collect()
    return psutil.Process().memory_info().rss / 1024


async def _park(play: Play, first: int, count: int) -> None:
    """Start runs that wait for a call which nobody takes."""
    refs = [RunRef(play.ref.cluster_id, f"run-{first + number}") for number in range(count)]
    for ref in refs:
        await play.temporal.start_run(ref)
    for ref in refs:
        await play.scheduled(CALL, ref)


async def main(address: str) -> None:
    play = Play(await connected(address))
    waits = RunState("running", 1, [play.order("waits", taken=False)])
    play.states += [waits] * (_WARM_UP + _COUNTED)
    async with play.workers(workflow_runner()):
        await _park(play, 0, _WARM_UP)
        before = _resident_kb()
        await _park(play, _WARM_UP, _COUNTED)
        sys.stdout.write(f"{(_resident_kb() - before) / _COUNTED:.1f}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
    sys.stdout.flush()
    # Threads of Temporal's native core may call into an interpreter that is being taken down, which aborts the process.
    os._exit(0)
