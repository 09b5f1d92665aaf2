"""What must hold of a run after every move, whatever the moves before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pydantic import JsonValue
from sqlalchemy import ColumnElement, Table, select

from orchestrator.rules.agent_loop import CallFunctions, Idle, Summarize, next_action
from orchestrator.rules.lifecycle import is_final
from orchestrator.store import tables
from orchestrator.store.calls.rows import DIRECT
from orchestrator.store.conversation.steps import run_state
from orchestrator.store.database.engine import Read
from orchestrator.store.database.json_columns import object_from_json, optional_from_json
from orchestrator.store.runs.locked_run import LockedRun
from orchestrator.workflows.interface import RunState
from perdure.contract import CallStatus, MessageType, PausedFor, RunStatus, StatusChangeTarget
from tests.faults.checker.evidence import Evidence, Row
from tests.faults.checker.invariants import RULES
from tests.orchestrator.store.walks.engine import Engine, Phase

_SHARED = ("steps", "results", "answered", "numbering", "moves", "totals", "quiet_ends")
"""Of the rules by which runs are checked after a crash, those that look at nothing but the store. A direct call's
result is shown to no model."""


@dataclass(frozen=True, slots=True)
class View:
    """A run as the store has it, and what its workflow knows."""

    run: Row
    evidence: Evidence
    engine: Engine
    state: RunState

    @property
    def status(self) -> RunStatus:
        return RunStatus(self.run["status"])

    @property
    def calls(self) -> list[Row]:
        return [row for row in self.evidence.calls if row["kind"] == "function"]


async def view(engine: Engine) -> View:
    """Everything a rule may look at."""
    name = engine.ref.run_id
    async with engine.stage.store.database.read() as read:
        (run,) = await _rows(read, tables.runs, tables.runs.c.id == name)

        async def of(table: Table) -> list[Row]:
            return _named(await _rows(read, table, table.c.run_key == run["key"]), name)

        calls, events = await of(tables.calls), await of(tables.events)
        keys = tables.call_results.c.call_key.in_([row["key"] for row in calls])
        evidence = Evidence(
            acknowledged={},
            runs=[run | {"run": name}],
            steps=await of(tables.steps),
            calls=calls,
            results=_named(await _rows(read, tables.call_results, keys), name),
            events=[row | object_from_json(row["data"]) | {"type": row["type"]} for row in events],
            deliveries=await of(tables.deliveries),
            messages=await of(tables.messages),
        )
    async with engine.stage.store.database.write() as write:
        state = await run_state(await LockedRun.lock(write, engine.ref))
    return View(evidence.runs[0], evidence, engine, state)


async def _rows(read: Read, table: Table, where: ColumnElement[bool]) -> list[Row]:
    found = await read.execute(select(table).where(where).order_by(*table.primary_key.columns))
    return [dict(row) for row in found.mappings()]


def _named(rows: list[Row], run: str) -> list[Row]:
    return [row | {"run": run} for row in rows]


def violations(seen: View) -> list[str]:
    """In words, all that is not as it must be."""
    names = [name for name in _SHARED if seen.run["kind"] != DIRECT or name != "results"]
    shared = [f"{name}: {words}" for name in names for _, words in RULES[name](seen.evidence)]
    return [*shared, *(f"{rule.__name__}: {words}" for rule in _OWN for words in rule(seen))]


def pauses(seen: View) -> Iterator[str]:
    """A paused run says what it waits for, and one that waits for a person has a call that does."""
    paused_for, waiting = seen.run["paused_for"], _interrupted(seen)
    if (paused_for is not None) != (seen.status is RunStatus.PAUSED):
        yield f"is {seen.status} and paused for {paused_for}"
    if (seen.run["paused_reason"] is not None) != (seen.status is RunStatus.PAUSED):
        yield f"is {seen.status} and gives the reason {seen.run['paused_reason']}"
    if paused_for == PausedFor.APPROVAL.value and not waiting:
        yield "is paused for an approval that no call asks for"
    if waiting and seen.status is RunStatus.RUNNING and not _will_re_read(seen):
        yield f"runs although {waiting} wait for a person"


def _interrupted(seen: View) -> list[str]:
    return [row["id"] for row in seen.calls if row["status"] == CallStatus.INTERRUPTED.value]


def calls(seen: View) -> Iterator[str]:
    """What the columns of a call say of it agrees."""
    for row in seen.calls:
        ended = row["result_type"] is not None
        if ended != (row["status"] in {CallStatus.SUCCESS.value, CallStatus.FAILURE.value}):
            yield f"call {row['id']} is {row['status']} with the result {row['result_type']}"
        if ended != (row["finished_at"] is not None):
            yield f"call {row['id']} is {row['status']} and finished at {row['finished_at']}"
        if (row["task_token"] is not None) != (row["status"] == CallStatus.RUNNING.value):
            yield f"call {row['id']} is {row['status']} and keeps the token {row['task_token']}"
        if row["status"] == CallStatus.INTERRUPTED.value and row["approval_expires_at"] is None:
            yield f"call {row['id']} waits for a person for ever"


def transcript(seen: View) -> Iterator[str]:
    """Every tool call that stands is answered exactly once before the model speaks again, or its call is open still."""
    if seen.run["cancel_reason"] is not None and is_final(seen.status):
        return  # nobody asks its model again
    still_open = {row["tool_call_id"] for row in seen.calls if not row["shown"]}
    asked: list[str] = []
    answered: list[str] = []
    for row in seen.evidence.messages:
        if row["replaced_by"] is not None:
            continue
        data = object_from_json(row["data"])
        if row["type"] == MessageType.AGENT.value:
            yield from _answers(asked, answered, set())
            asked, answered = _tool_calls(data.get("invocations", [])), []
        elif row["type"] == MessageType.INVOCATION_RESULT.value:
            answered.append(str(data["id"]))
    yield from _answers(asked, answered, still_open)


def _tool_calls(invocations: JsonValue) -> list[str]:
    found = invocations if isinstance(invocations, list) else []
    return [str(one["id"]) for one in found if isinstance(one, dict)]


def _answers(asked: list[str], answered: list[str], still_open: set[str]) -> Iterator[str]:
    wanted = [one for one in asked if one not in still_open]
    if sorted(wanted) != sorted(answered):
        yield f"asked for {asked}, {sorted(still_open)} open still, and was answered {answered}"


def deliveries(seen: View) -> Iterator[str]:
    """One for each transition to a status that somebody wants to hear of, and none besides; delivered in order."""
    target = optional_from_json(seen.run["on_status_change"])
    wanted: list[int] = []
    if target is not None:
        of = StatusChangeTarget.model_validate(target).statuses
        moves = [row for row in seen.evidence.events if row["type"] == "run.status"]
        wanted = [row["transition"] for row in moves if of is None or row["status"] in of]
    if [row["transition"] for row in seen.evidence.deliveries] != wanted:
        yield f"has deliveries for {[row['transition'] for row in seen.evidence.deliveries]}, not {wanted}"
    states = [row["status"] == "pending" for row in seen.evidence.deliveries]
    if states != sorted(states):
        yield f"delivered a later transition before an earlier one: {states}"


def forgotten(seen: View) -> Iterator[str]:
    """No run stands still while something could be done, nobody has to act first and nobody will look."""
    engine, step = seen.engine, next_action(seen.state.loop_state())
    if is_final(seen.status) or _will_re_read(seen) or engine.phase is Phase.DUE:
        return
    if engine.phase is Phase.RESTING and step != Idle():
        yield f"rests in status {seen.status} although it is to {step}"
    if engine.phase is Phase.CALLING and isinstance(step, CallFunctions):
        made = {order.call_id for order in engine.tasks.values()}
        made |= {lost.call_id for lost in engine.lost} | _withdrawn(seen)
        if set(step.calls) - made:
            yield f"waits for {made}, and {step.calls} are to be made"
    if engine.phase is Phase.CALLING and not engine.tasks:
        yield "waits for calls, and none is open"
    asked = engine.step_input
    current = asked is not None and seen.run["step"] < asked.step  # or its reply is dropped
    if current and isinstance(step, CallFunctions | Summarize):
        yield f"asks the model although it is to {step}"


def _withdrawn(seen: View) -> set[str]:
    """Calls whose result was taken back when nobody waited for them any more: they are made after the others."""
    events = seen.evidence.events
    return {str(row["callId"]) for row in events if row["type"] == "call.superseded"}


def _will_re_read(seen: View) -> bool:
    """Whether a signal is on its way: by hand, or by the sweeper."""
    if seen.run["parked"] and seen.engine.phase is Phase.RESTING:
        return True  # the sweeper revives it when somebody comes
    return seen.run["wake_wanted"] > seen.run["wake_read"] or seen.engine.signalled


_OWN: tuple[Callable[[View], Iterator[str]], ...] = (
    pauses,
    calls,
    transcript,
    deliveries,
    forgotten,
)
