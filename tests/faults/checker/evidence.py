"""What is known after a scenario: the store's rows, Temporal's histories, and what model and functions wrote down."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Table, select
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.client import Client, WorkflowExecutionStatus

from orchestrator.store import tables
from orchestrator.store.database.engine import open_database
from orchestrator.store.database.json_columns import object_from_json
from orchestrator.store.database.transaction import Read
from orchestrator.temporal.client import connect, run_workflow_id
from orchestrator.workflows.interface import RunRef
from tests.faults.ground.diary import lines_of
from tests.faults.ground.ground import Ground

Row = dict[str, Any]
CLOSING_SECONDS = 20.0
"""How long after a run's end its workflow may take to close."""


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution of a run's workflow, of its history what counts."""

    run: str
    status: str
    completed: Mapping[str, int]
    """Activity id of a call -> how often it was completed."""
    broken_tasks: int = 0
    """Workflow tasks that failed because the code did not fit the history."""


@dataclass(slots=True)
class Evidence:
    """Everything a checker may look at. `run` in every row is the run's id."""

    acknowledged: Mapping[str, str]
    """Runs whose creation was answered: id -> cluster."""
    runs: list[Row] = field(default_factory=list[Row])
    steps: list[Row] = field(default_factory=list[Row])
    calls: list[Row] = field(default_factory=list[Row])
    results: list[Row] = field(default_factory=list[Row])
    events: list[Row] = field(default_factory=list[Row])
    deliveries: list[Row] = field(default_factory=list[Row])
    messages: list[Row] = field(default_factory=list[Row])
    asked: list[Row] = field(default_factory=list[Row])
    """The model's ledger."""
    diary: list[Row] = field(default_factory=list[Row])
    dead: set[int] = field(default_factory=set[int])
    """Function workers that were killed or frozen: what they had begun may begin again."""
    executions: list[Execution] = field(default_factory=list[Execution])
    returns: list[int] = field(default_factory=list[int])
    """When processes that were away were back."""
    requests: list[Row] = field(default_factory=list[Row])
    """What runs were asked after they began, as far as it was acknowledged."""
    workers: Mapping[int, str] = field(default_factory=dict[int, str])
    """Function worker -> the cluster whose key it has."""
    is_code_changed: bool = False
    """Temporal workers with another workflow were at work: tasks may have failed there."""
    listed: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    """Cluster -> the runs that its key is shown."""

    def of(self, rows: Sequence[Row], run: str) -> list[Row]:
        return [row for row in rows if row["run"] == run]


async def gather(ground: Ground) -> Evidence:
    """Everything there is to know of a ground, its API and Temporal running."""
    evidence = await of_store(ground.database_url, ground.acknowledged)
    evidence.asked = lines_of(ground.ledger)
    evidence.diary = lines_of(ground.diary)
    evidence.dead = set(ground.dead)
    evidence.returns = list(ground.returns)
    evidence.requests = list(ground.requests)
    evidence.workers = ground.workers()
    evidence.executions = await _executions(ground, evidence)
    evidence.listed = {
        tenant.cluster_id: await _listed(ground, tenant) for tenant in (ground.tenant, ground.other)
    }
    return evidence


async def of_store(database_url: str, acknowledged: Mapping[str, str]) -> Evidence:
    """The store's part of the evidence."""
    database = await open_database(database_url, checkpoint=False)
    try:
        async with database.read() as read:
            return await _of_store(read, acknowledged)
    finally:
        await database.aclose()


async def _of_store(read: Read, acknowledged: Mapping[str, str]) -> Evidence:
    runs = await _rows(read, tables.runs)
    names = {row["key"]: row["id"] for row in runs}
    calls = await _rows(read, tables.calls)
    call_runs = {row["key"]: names[row["run_key"]] for row in calls}
    results = await _rows(read, tables.call_results)
    events = [
        row | object_from_json(row["data"]) | {"type": row["type"]}
        for row in await _rows(read, tables.events)
    ]
    return Evidence(
        acknowledged=dict(acknowledged),
        runs=[row | {"run": row["id"]} for row in runs],
        steps=_named(await _rows(read, tables.steps), names),
        calls=_named(calls, names),
        results=[row | {"run": call_runs[row["call_key"]]} for row in results],
        events=_named(events, names),
        deliveries=_named(await _rows(read, tables.deliveries), names),
        messages=_named(await _rows(read, tables.messages), names),
    )


async def _rows(read: Read, table: Table) -> list[Row]:
    found = await read.execute(select(table).order_by(*table.primary_key.columns))
    return [dict(row) for row in found.mappings()]


def _named(rows: list[Row], names: Mapping[int, str]) -> list[Row]:
    return [row | {"run": names[row["run_key"]]} for row in rows]


async def _listed(ground: Ground, tenant: Any) -> list[str]:
    async with ground.client(tenant) as client:
        return [run.id async for run in client.list_runs()]


async def _executions(ground: Ground, evidence: Evidence) -> list[Execution]:
    client = await connect(ground.settings())
    found: list[Execution] = []
    for row in evidence.runs:
        ref = RunRef(row["cluster_id"], row["id"])
        if row["finished_at"] is not None:
            await _closed(client, ref)
        found += await _executions_of(client, ref)
    return found


async def _closed(client: Client, ref: RunRef) -> None:
    """Give the workflow of a run that has ended the time to close."""
    handle = client.get_workflow_handle(run_workflow_id(ref))
    try:
        async with asyncio.timeout(CLOSING_SECONDS):
            while (await handle.describe()).status is WorkflowExecutionStatus.RUNNING:  # noqa: ASYNC110 - another process's
                await asyncio.sleep(0.2)
    except TimeoutError:
        return  # the checker will say so


async def _executions_of(client: Client, ref: RunRef) -> list[Execution]:
    found: list[Execution] = []
    async for execution in client.list_workflows(f'WorkflowId = "{run_workflow_id(ref)}"'):
        handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
        status = (await handle.describe()).status
        found.append(
            await _read(ref.run_id, status.name if status else "", handle.fetch_history_events())
        )
    return found


async def _read(run: str, status: str, events: Any) -> Execution:
    scheduled: dict[int, str] = {}
    completed: Counter[str] = Counter()
    broken = 0
    async for event in events:
        match event.event_type:
            case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                attributes = event.activity_task_scheduled_event_attributes
                scheduled[event.event_id] = attributes.activity_id
            case EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                attributes = event.activity_task_completed_event_attributes
                completed[scheduled[attributes.scheduled_event_id]] += 1
            case EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
                attributes = event.workflow_task_failed_event_attributes
                broken += attributes.cause == _NONDETERMINISM
            case _:
                pass
    return Execution(run, status, completed, broken)


_NONDETERMINISM = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR
