"""How soon a request is answered, and how soon an observer knows."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from benchmarks.bench import Bench, suffix
from benchmarks.report.figures import Sheet
from perdure import AsyncRun

SECTION = "latency and history"
_THINKING_MS = 150
"""The model takes so long, so that the observer waits when the run ends."""
_SHORT, _LONG = 10, 60
"""Steps of the runs whose histories are compared."""


async def latencies(bench: Bench) -> None:
    """Creations and observations in turn, each when nothing of the run before is under way any more."""
    sheet = bench.sheet(SECTION)
    created: list[float] = []
    polled: list[float] = []
    streamed: list[float] = []
    for _ in range(bench.plan.latency_samples):
        created.append(await _creation(bench))
        polled.append(await _poll(bench))
        streamed.append(await _stream(bench))
    _percentiles(sheet, "create_run", created)
    _percentiles(sheet, "transition_to_poll", polled)
    _percentiles(sheet, "transition_to_stream", streamed)


def _percentiles(sheet: Sheet, figure: str, samples: list[float]) -> None:
    sheet.add(f"{figure}_p50", samples, "ms")
    sheet.add(f"{figure}_p95", samples, "ms", share=0.95)


async def _creation(bench: Bench) -> float:
    """Milliseconds until a create-run request is answered."""
    started = time.perf_counter()
    run = await bench.http.create(1)
    answered = time.perf_counter() - started
    await run.poll(timeout=60)
    await _closed(bench, run)
    return answered * 1000


async def _poll(bench: Bench) -> float:
    """Milliseconds from the final transition's time stamp until a long poll has it."""
    run = await bench.http.create(0, delay_ms=_THINKING_MS)
    snapshot = (await run.poll(timeout=60)).run
    if snapshot.finished_at is None:
        raise RuntimeError("a run that was polled to its end has no end")
    seen_after = _ms_since(snapshot.finished_at)
    await _closed(bench, run)
    return seen_after


async def _stream(bench: Bench) -> float:
    """Milliseconds from the final transition's time stamp until a stream of events has it."""
    run = await bench.http.create(0, delay_ms=_THINKING_MS)
    async for event in run.events():
        if event.type == "run.status" and event.data.get("status") == "done":
            seen_after = _ms_since(event.created_at)
            await _closed(bench, run)
            return seen_after
    raise RuntimeError("a stream of events ended without the last transition")


async def _closed(bench: Bench, run: AsyncRun[Any]) -> None:
    """Wait until Temporal has nothing more to do for the run: the machine is idle again."""
    await bench.temporal.get_workflow_handle(bench.http.workflow_id(run)).result()


def _ms_since(moment: datetime) -> float:
    return (datetime.now(UTC) - moment).total_seconds() * 1000


async def history(bench: Bench) -> None:
    """Temporal's own count of a run of ten calls, and what each further step adds."""
    sheet = bench.sheet(SECTION)
    for side in bench.ours:
        end = suffix(side)
        small = await history_of(bench, side.workflow_id(await side.run(_SHORT)))
        large = await history_of(bench, side.workflow_id(await side.run(_LONG)))
        sheet.add(f"history_bytes_per_10_calls{end}", [small[0]], "bytes")
        _per_step(sheet, small, large, end)
    small = await history_of(bench, await bench.raw.run(_SHORT))
    large = await history_of(bench, await bench.raw.run(_LONG))
    _per_step(sheet, small, large, "_raw")


def _per_step(
    sheet: Sheet, small: tuple[float, float], large: tuple[float, float], end: str
) -> None:
    size, length = (
        max(0.0, more - less) / (_LONG - _SHORT) for less, more in zip(small, large, strict=True)
    )
    sheet.add(f"history_bytes_per_step{end}", [size], "bytes")
    sheet.add(f"history_events_per_step{end}", [length], "events")


async def history_of(bench: Bench, workflow_id: str) -> tuple[float, float]:
    """Bytes and events of a workflow's history."""
    described = await bench.temporal.get_workflow_handle(workflow_id).describe()
    info = described.raw_description.workflow_execution_info
    return float(info.history_size_bytes), float(info.history_length)
