"""Where the time of a step goes: read from Temporal's history, by the server's clock, after each run."""

from __future__ import annotations

from collections import defaultdict

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from benchmarks.bench import Bench

SECTION = "where the time of a step over HTTP goes"
_STEPS = 20

Legs = dict[str, float]
"""Milliseconds per step, by the name of a leg."""


async def legs(bench: Bench) -> None:
    """The legs of runs of 20 steps, of the raw loop and over HTTP in turn."""
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(bench.plan.rounds):
        for end, workflow_id in (
            ("_raw", await bench.raw.run(_STEPS)),
            ("", bench.http.workflow_id(await bench.http.run(_STEPS))),
        ):
            for leg, taken in (await _legs_of(bench, workflow_id)).items():
                found[f"{leg}{end}"].append(taken)
    sheet = bench.sheet(SECTION)
    for name in sorted(found):
        sheet.add(f"ms_{name}", found[name], "ms")


async def _legs_of(bench: Bench, workflow_id: str) -> Legs:
    handle = bench.temporal.get_workflow_handle(workflow_id)
    await handle.result()
    events = {event.event_id: event for event in (await handle.fetch_history()).events}
    taken: Legs = defaultdict(float)
    for event in events.values():
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            leg, ended = "workflow_tasks", event.workflow_task_completed_event_attributes
            ids = (ended.scheduled_event_id, ended.started_event_id)
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            done = event.activity_task_completed_event_attributes
            leg, ids = (
                _leg_of(events[done.scheduled_event_id]),
                (done.scheduled_event_id, done.started_event_id),
            )
        else:
            continue
        scheduled, started = (events[number] for number in ids)
        taken[f"{leg}_wait"] += _ms_between(scheduled, started) / _STEPS
        taken[f"{leg}_at_work"] += _ms_between(started, event) / _STEPS
    return taken


def _leg_of(scheduled: HistoryEvent) -> str:
    """Ours asks the model in `think`; everything else is a call."""
    name = scheduled.activity_task_scheduled_event_attributes.activity_type.name
    return "model_steps" if name in {"raw_model", "think"} else "calls"


def _ms_between(earlier: HistoryEvent, later: HistoryEvent) -> float:
    return (later.event_time.ToNanoseconds() - earlier.event_time.ToNanoseconds()) / 1e6
