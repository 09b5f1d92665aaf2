"""Plays runs against the store: what the API, the workflow, the model and the machines do to it, one move a method."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import JsonValue
from sqlalchemy import ColumnElement, Table, select, update

from orchestrator.llm.messages import ModelResponse, StopReason, ToolCall, Usage
from orchestrator.llm.prompts import RESULT_TOOL
from orchestrator.rules.model_reply import ParsedReply, parse_reply
from orchestrator.runtime.clock import now_ms
from orchestrator.schema import compile_schema
from orchestrator.store import tables
from orchestrator.store.calls.outcomes import Leased, ResultRecorded
from orchestrator.store.conversation.step_input import StepInput, TranscriptCursor
from orchestrator.store.database.json_columns import from_json, object_from_json, to_json
from orchestrator.store.records import MessageRecord, RunRecord
from orchestrator.store.runs.creation import NewRun
from orchestrator.store.store import Store
from orchestrator.workflows.interface import CallRef, CallSchedule, RunRef, RunState, TimedOutCall
from orchestrator.workflows.wakeups import Wakeup, WakeupKind
from perdure.contract import (
    FunctionCall,
    FunctionConfig,
    FunctionDefinition,
    FunctionReference,
    MessageType,
    ResultType,
    RunOptions,
    StatusChangeTarget,
)

USAGE = Usage(input_tokens=10, output_tokens=5, cache_read_tokens=3, cache_write_tokens=2)
HANDLER = StatusChangeTarget(function=FunctionReference(service="sales", function="announce"))
_numbers = itertools.count(1)


def new_run(cluster_id: str, run_id: str = "", **changes: Any) -> NewRun:
    """A run that was checked; its prompt is "go". Options among the `changes` go into its `options`."""
    options = {name: changes.pop(name) for name in RunOptions.model_fields.keys() & changes.keys()}
    plain = NewRun(
        cluster_id=cluster_id,
        id=run_id or f"run-{next(_numbers)}",
        message_id=f"message-{next(_numbers)}",
        prompt="go",
        name="a run",
        model="scripted/inline",
        result_schema=None,
        attached_functions=None,
        on_status_change=None,
        context=None,
        options=RunOptions(**options),
        idempotency_key=None,
        request_hash="same",
    )
    return replace(plain, **changes)


def calls_for(*names: str) -> ModelResponse:
    """A reply that calls these tools, in this order."""
    calls = [ToolCall(f"tool-{next(_numbers)}", name, {}) for name in names]
    return ModelResponse("", StopReason.CALLS, tuple(calls), usage=USAGE)


def result_of(value: JsonValue) -> ModelResponse:
    """A reply that gives a result."""
    call = ToolCall(f"tool-{next(_numbers)}", RESULT_TOOL, {"result": value})
    return ModelResponse("", StopReason.CALLS, (call,), usage=USAGE)


def text_of(text: str) -> ModelResponse:
    return ModelResponse(text, StopReason.END, usage=USAGE)


@dataclass(frozen=True, slots=True)
class Stage:
    """One cluster of a store."""

    store: Store
    cluster_id: str

    # -- what callers do ---------------------------------------------------------------------------

    async def run(self, **changes: Any) -> RunRef:
        record, is_new = await self.store.runs.create(new_run(self.cluster_id, **changes))
        assert is_new
        return RunRef(self.cluster_id, record.id)

    async def send(self, ref: RunRef, text: str, message_id: str = "") -> MessageRecord:
        message_id = message_id or f"message-{next(_numbers)}"
        record, _ = await self.store.messages.add(ref, message_id, MessageType.HUMAN, text)
        return record

    async def woken_by(self, work: Awaitable[object]) -> list[RunRef]:
        """The runs whose workflows are to be woken after these transactions."""
        wakeups: list[Wakeup] = []
        sending = self.store.database.on_wakeups
        self.store.database.on_wakeups = wakeups.extend
        try:
            await work
        finally:
            self.store.database.on_wakeups = sending
        return [wakeup.run for wakeup in wakeups if wakeup.kind is WakeupKind.RUN]

    async def has_pending_deliveries(self, ref: RunRef) -> bool:
        """Whether a transition of the run is still to be delivered."""
        run = await self.get_run(ref)
        pending = tables.deliveries.c.status == "pending"
        return bool(
            await self.rows(tables.deliveries, tables.deliveries.c.run_key == run.key, pending)
        )

    # -- what the workflow and the model do --------------------------------------------------------

    async def begin(
        self, ref: RunRef, step: int = 0, *, attempt: int = 1, lost: Sequence[TimedOutCall] = ()
    ) -> StepInput | RunState:
        return await self.store.steps.begin(
            ref, step, lost=list(lost), attempt=attempt, cursor=TranscriptCursor()
        )

    async def begin_step(self, ref: RunRef, step: int = 0, *, attempt: int = 1) -> StepInput:
        """Begin a step of which one knows that it is the model's turn."""
        step_input = await self.begin(ref, step, attempt=attempt)
        assert isinstance(step_input, StepInput)
        return step_input

    async def record(
        self, step_input: StepInput, reply: ModelResponse, *, attempt: int = 1
    ) -> RunState:
        recorded = await self.store.steps.record(
            step_input,
            plan_of(step_input, reply),
            seen=step_input.entries[-1].key,
            attempt=attempt,
            duration_ms=7,
        )
        return recorded.state

    async def think(self, ref: RunRef, reply: ModelResponse) -> RunState:
        """One whole step."""
        return await self.record(await self.begin_step(ref), reply)

    async def finished(self, **changes: Any) -> RunRef:
        """A run that is done."""
        ref = await self.run(**changes)
        state = await self.think(ref, text_of("the answer"))
        assert state.status == "done"
        return ref

    async def called(self, ref: RunRef, *names: str) -> list[CallSchedule]:
        """The model calls these functions; how they are to be scheduled."""
        return (await self.think(ref, calls_for(*(names or ("sales_query",))))).orders

    # -- what machines do --------------------------------------------------------------------------

    async def register(
        self,
        *names: str,
        service: str = "sales",
        machine: str = "m1",
        heartbeats: bool = True,
        alive_for: int = 60_000,
        config: FunctionConfig | None = None,
    ) -> None:
        definitions = [FunctionDefinition(name=name, config=config) for name in names]
        await self.store.functions.register(
            self.cluster_id,
            machine,
            service,
            definitions,
            heartbeats=heartbeats,
            alive_until=now_ms() + alive_for,
        )

    async def lease(
        self, ref: RunRef, call_id: str, machine: str = "m1", token: bytes = b"token"
    ) -> FunctionCall:
        """Give the call to a machine, which takes it."""
        outcome = await self.store.calls.lease(CallRef(ref, call_id), machine, token)
        assert isinstance(outcome, Leased)
        return outcome.call

    async def acknowledge(
        self, call_id: str, machine: str = "m1", attempt: int | None = None
    ) -> bool:
        return await self.store.calls.acknowledge(self.cluster_id, call_id, machine, attempt)

    async def get_lease(
        self, call_id: str, machine: str = "m1", attempt: int | None = None
    ) -> tuple[bytes, bool]:
        return await self.store.calls.get_lease(self.cluster_id, call_id, machine, attempt)

    async def finish(
        self,
        call_id: str,
        content: str = '"ok"',
        *,
        machine: str = "m1",
        attempt: int | None = None,
        kind: ResultType = ResultType.RESOLUTION,
    ) -> ResultRecorded:
        return await self.store.calls.accept_result(
            self.cluster_id, call_id, machine, attempt, kind=kind, content=content
        )

    async def lease_and_finish(
        self, ref: RunRef, call_id: str, content: str = '"ok"'
    ) -> ResultRecorded:
        """Hand the call out and take its result."""
        await self.lease(ref, call_id)
        return await self.finish(call_id, content)

    # -- looking -----------------------------------------------------------------------------------

    async def get_run(self, ref: RunRef) -> RunRecord:
        return await self.store.runs.get(ref)

    async def events(self, ref: RunRef, kind: str = "") -> list[dict[str, Any]]:
        """The data of the run's events, of one type or all."""
        found = await self.store.runs.events(ref, after=0, limit=10_000)
        return [object_from_json(event.data) for event in found if kind in {"", event.type}]

    async def event_types(self, ref: RunRef) -> list[str]:
        return [event.type for event in await self.store.runs.events(ref, after=0, limit=10_000)]

    async def messages(self, ref: RunRef) -> list[tuple[str, dict[str, Any]]]:
        found = await self.store.messages.page(ref, after=0, limit=10_000)
        return [(message.type, object_from_json(message.data)) for message in found]

    async def rows(self, table: Table, *where: ColumnElement[bool]) -> list[dict[str, Any]]:
        statement = select(table).where(*where).order_by(*table.primary_key.columns)
        async with self.store.database.read() as read:
            return [dict(row) for row in (await read.execute(statement)).mappings()]

    async def call_row(self, call_id: str) -> dict[str, Any]:
        (row,) = await self.rows(tables.calls, tables.calls.c.id == call_id)
        return row

    async def alter(self, table: Table, *where: ColumnElement[bool], **values: object) -> None:
        """Let time pass, or something go wrong: change rows behind the store's back."""
        async with self.store.database.write() as write:
            await write.execute(update(table).where(*where).values(**values))


def plan_of(step_input: StepInput, reply: ModelResponse) -> ParsedReply:
    """What the reply asks for, as a worker reads it."""
    schema = step_input.run.result_schema
    return parse_reply(
        reply,
        {function.tool.name: function for function in step_input.tools.functions},
        check_input=lambda function, value: (),
        check_result=None if schema is None else compile_schema(schema).problems,
        parse=from_json,
    )


WHOLE_NUMBER = to_json({"type": "integer"})
