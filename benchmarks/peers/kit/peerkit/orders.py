"""A peer's child process: takes orders as JSON lines on stdin, answers each with one line on stdout.

`{"runs": 50, "concurrent": 50, "steps": 3}` is answered by `{"seconds": 1.23}` once every run has ended with the right
answer, else by `{"error": "..."}`. The first line it writes is `{"ready": true}`. At the end of stdin it stops.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from peerkit.job import expected

RunOnce = Callable[[int], Awaitable[str]]
"""Start a run of so many iterations, wait for its end, give its answer."""
_SECONDS_TO_STOP = 20


@dataclass(frozen=True)
class Surroundings:
    """Where a peer runs. `state_dir` is an empty folder of its own; `variant` is one of the peer's own choices."""

    temporal_address: str
    temporal_namespace: str
    state_dir: Path
    variant: str


def main(peer: Callable[[Surroundings], AbstractAsyncContextManager[RunOnce]]) -> None:
    """Start the peer, obey until stdin ends, stop it."""
    answers = _claim_stdout()
    address, namespace, state_dir, variant = sys.argv[1:5]
    asyncio.run(_obey(peer(Surroundings(address, namespace, Path(state_dir), variant)), answers))


def _claim_stdout() -> TextIO:
    """Keep stdout for answers: what libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


async def _obey(peer: AbstractAsyncContextManager[RunOnce], answers: TextIO) -> None:
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    async with peer as run_once:
        _say(answers, {"ready": True})
        at_work: set[asyncio.Task[None]] = set()
        while line := await orders.readline():
            task = asyncio.create_task(_carry_out(line, run_once, answers))
            at_work.add(task)
            task.add_done_callback(at_work.discard)
        _stop_in_time()
        for task in at_work:
            task.cancel()


async def _carry_out(line: bytes, run_once: RunOnce, answers: TextIO) -> None:
    try:
        seconds = await _timed(json.loads(line), run_once)
    except Exception as error:  # noqa: BLE001 - the parent is notified, whatever it was
        _say(answers, {"error": f"{type(error).__name__}: {error}"[:2000]})
    else:
        _say(answers, {"seconds": seconds})


async def _timed(order: dict[str, int], run_once: RunOnce) -> float:
    """Seconds from the start of the first run to the end of the last. Raises `ValueError` on a wrong answer."""
    runs, steps = order["runs"], order["steps"]
    at_once = asyncio.Semaphore(order.get("concurrent", runs))

    async def one() -> str:
        async with at_once:
            return await run_once(steps)

    started = time.perf_counter()
    said = await asyncio.gather(*(one() for _ in range(runs)))
    seconds = time.perf_counter() - started
    if wrong := [text for text in said if text != expected(steps)]:
        raise ValueError(f"{len(wrong)} of {runs} runs ended wrong: {wrong[0]!r}")
    return seconds


def _say(answers: TextIO, answer: dict[str, object]) -> None:
    print(json.dumps(answer), file=answers, flush=True)


def _stop_in_time() -> None:
    """Whoever waits for this process has gone: it ends, if need be without having tidied up."""
    end = threading.Timer(_SECONDS_TO_STOP, os._exit, args=[1])
    end.daemon = True
    end.start()
