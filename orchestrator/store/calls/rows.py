"""Rows of calls inside a transaction on their run: written, found, answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pydantic import JsonValue
from sqlalchemy import bindparam, func, insert, select, update

from orchestrator.llm.messages import ToolResult
from orchestrator.llm.transcript import is_oversized, result_data, slice_result, truncate
from orchestrator.rules.approvals import edited_message
from orchestrator.rules.lifecycle import Trigger, allows, is_final
from orchestrator.rules.model_reply import RequestedCall, ResultReadRequest as ReadPart
from orchestrator.runtime.ids import new_id
from orchestrator.store import tables
from orchestrator.store.calls.interruptions import resume_if_decided
from orchestrator.store.database.engine import Read
from orchestrator.store.database.json_columns import to_json, to_storable_text
from orchestrator.store.database.prepared import prepared_inline
from orchestrator.store.records import CallRecord
from orchestrator.store.runs.creation import priority_of
from orchestrator.store.runs.locked_run import LockedRun
from orchestrator.store.runs.outbox import WEBHOOK
from orchestrator.store.sealed_fields import seal_input, seal_result
from orchestrator.workflows.interface import (
    DELIVER_WEBHOOK,
    WEBHOOK_QUEUE,
    CallSchedule,
    TimedOutCall,
)
from perdure.contract import MAX_REASON, CallStatus, MessageType, ResultType
from perdure.contract.event_types import CallCreated, CallFinished, CallLate

calls, call_results = tables.calls, tables.call_results

HEARTBEAT_TIMEOUT = 12.0
"""Seconds without a heartbeat after which a worker counts as lost; at least 10, or busy workers would count as lost."""
LOCAL_TIMEOUT_SLACK = 5.0
"""Seconds that Temporal waits longer than the function worker, which enforces and reports the timeout first."""

DIRECT = "call"
"""Kind of the hidden runs of direct calls."""
MAX_UNACKNOWLEDGED = 10
"""Unacknowledged leases of a call: beyond that the call itself seems to kill its workers."""

_LATE_APPROVAL_REQUEST = "The run had ended when the function requested an approval, so there is neither an approval nor a result."

# Built once: building a statement costs more than sending it.
_OPEN = prepared_inline(
    select(calls)
    .where(
        calls.c.run_key == bindparam("of_run"),
        calls.c.kind == "function",
        tables.UNSHOWN_CALLS,
    )
    .order_by(calls.c.key)
)
_FIND = prepared_inline(
    select(calls).where(
        calls.c.cluster_id == bindparam("of_cluster"), calls.c.id == bindparam("of_call")
    )
)
UPDATE_CALL = prepared_inline(update(calls).where(calls.c.key == bindparam("of_key")))
"""Run with `of_key` and the columns to set."""
_INSERT_CALLS = prepared_inline(insert(calls))
_INSERT_RESULT = prepared_inline(insert(call_results))
_INSERT_MESSAGE = prepared_inline(insert(tables.messages))


def task_queue_name(cluster_id: str, service: str, function: str) -> str:
    """The Temporal task queue of a function. Names cannot contain a slash, so no two functions share one."""
    return f"{cluster_id}/{service}/{function}"


def parse_task_queue(queue: str) -> tuple[str, str, str]:
    """Cluster, service and function of a task queue."""
    cluster_id, service, function = queue.split("/")
    return cluster_id, service, function


def result_message_id(call: CallRecord) -> str:
    """The id of the message that shows a call's result. A caller's own message id cannot contain a colon."""
    return f"{call.id}:result"


def call_schedule(call: CallRecord, now: int) -> CallSchedule:
    """How the workflow schedules the call."""
    if call.kind == WEBHOOK:
        return _webhook_schedule(call, now)
    return CallSchedule(
        call_id=call.id,
        queue=task_queue_name(call.cluster_id, call.service, call.function),
        name=f"{call.service}_{call.function}",
        timeout=call.timeout_ms / 1000 + LOCAL_TIMEOUT_SLACK,
        deadline=max(1.0, ((call.decided_at or call.created_at) + call.deadline_ms - now) / 1000),
        heartbeat=HEARTBEAT_TIMEOUT if call.heartbeats else None,
        interruptions=call.interruptions,
    )


def call_schedule_in_run(run: LockedRun, call: CallRecord) -> CallSchedule:
    """The same for a call of the run's model: with the run's priority, and never beyond the run's deadline."""
    schedule, deadline = call_schedule(call, run.now), run.record.deadline_at
    remaining = schedule.deadline if deadline is None else max(1.0, (deadline - run.now) / 1000)
    return replace(
        schedule, priority=priority_of(run.record), deadline=min(schedule.deadline, remaining)
    )


def _webhook_schedule(call: CallRecord, now: int) -> CallSchedule:
    """One whole attempt is made even if the time is up, because it was spent on waiting for earlier transitions."""
    attempt = call.timeout_ms / 1000 + LOCAL_TIMEOUT_SLACK
    return CallSchedule(
        call_id=call.id,
        queue=WEBHOOK_QUEUE,
        name=DELIVER_WEBHOOK,
        timeout=attempt,
        deadline=max(attempt, (call.created_at + call.deadline_ms - now) / 1000),
        heartbeat=None,
    )


async def open_calls(read: Read, run_key: int) -> list[CallRecord]:
    """The model's calls without a result, or with one that is too long and not summarized yet; in their order."""
    found = await read.execute(_OPEN, {"of_run": run_key})
    return [CallRecord(**row) for row in found.mappings()]


async def find_call(read: Read, cluster_id: str, call_id: str) -> CallRecord | None:
    of_call = {"of_cluster": cluster_id, "of_call": call_id}
    row = (await read.execute(_FIND, of_call)).mappings().one_or_none()
    return None if row is None else CallRecord(**row)


async def insert_calls(
    run: LockedRun, step: int, requested: Sequence[RequestedCall]
) -> tuple[str, ...]:
    """Write the calls of a reply; returns their ids in the model's order."""
    rows = [
        {
            "run_key": run.key,
            "id": new_id(),
            "cluster_id": run.record.cluster_id,
            "kind": "function",
            "service": call.function.service,
            "function": call.function.name,
            "input": to_json(_input_column(run, call)),
            "step": step,
            "tool_call_id": call.tool_call.id,
            "tool_name": call.tool_call.name,
            "reasoning": None
            if call.tool_call.reasoning is None
            else to_storable_text(call.tool_call.reasoning),
            "config": call.function.config,
            "max_attempts": call.function.max_attempts,
            "timeout_ms": call.function.timeout_ms,
            "deadline_ms": call.function.deadline_ms,
            "heartbeats": call.function.heartbeats,
            "status": CallStatus.PENDING.value,
            "created_at": run.now,
        }
        for call in requested
    ]
    if rows:
        await run.write.execute(_INSERT_CALLS, rows)
    for row in rows:
        run.event(
            CallCreated(
                call_id=str(row["id"]),
                service=str(row["service"]),
                function=str(row["function"]),
                step=step,
            )
        )
    return tuple(str(row["id"]) for row in rows)


def _input_column(run: LockedRun, call: RequestedCall) -> JsonValue:
    function = (call.function.service, call.function.name)
    return seal_input(run.write.cipher, run.record.cluster_id, function, call.tool_call.input)


async def record_result(
    run: LockedRun,
    call: CallRecord,
    kind: ResultType,
    content: str,
    *,
    is_text: bool | None = None,
    attempts: int | None = None,
) -> bool:
    """Write a call's result, and show it to the model unless it must be summarized first; True in that case.

    `content` is what the model is to read: JSON text, or the characters of a plain string (`is_text`; by default true for a
    rejection). `attempts`: the new count. A direct call's hidden run ends with it.
    """
    rejected = kind is ResultType.REJECTION
    too_long = is_oversized(content)
    for_model = call.kind == "function" and run.record.kind != DIRECT
    summarize = for_model and too_long and not rejected and run.record.call_summarization
    await _store_result(
        run,
        call,
        kind,
        content,
        is_text=is_text,
        status=(CallStatus.FAILURE if rejected else CallStatus.SUCCESS).value,
        attempts=call.attempts if attempts is None else attempts,
        oversized=too_long,
        shown=call.kind == "function" and not summarize,
        approval_expires_at=None,
    )
    if call.status == CallStatus.INTERRUPTED.value:
        await resume_if_decided(run)
    if call.kind != "function":
        return False
    run.event(
        CallFinished(
            call_id=call.id,
            service=call.service,
            function=call.function,
            result_type=kind.value,
            size=len(content),
        )
    )
    if run.record.kind == DIRECT:
        await _finish_direct_run(run, call, kind, content)
    elif not summarize:
        shown = truncate(content, call_id=call.id) if too_long else content
        await _write_message(run, call, kind, shown, summarized=False)
    return summarize


async def _store_result(
    run: LockedRun,
    call: CallRecord,
    kind: ResultType,
    content: str,
    *,
    is_text: bool | None,
    **columns: object,
) -> None:
    if is_text is None:
        is_text = kind is not ResultType.RESOLUTION
    stored = content if is_text else seal_result(run.write.cipher, call, content)
    await run.write.execute(_INSERT_RESULT, {"call_key": call.key, "content": stored})
    columns_set: dict[str, object] = {
        "of_key": call.key,
        "result_type": kind.value,
        "result_size": len(content),
        "result_is_text": is_text,
        "finished_at": run.now,
        "task_token": None,
    }
    await run.write.execute(UPDATE_CALL, columns_set | columns)


async def _finish_direct_run(
    run: LockedRun, call: CallRecord, kind: ResultType, content: str
) -> None:
    """The hidden run of a direct call has no model: it ends with its call."""
    if call.cancelled or run.record.cancel_reason is not None:
        await run.transition(Trigger.CANCEL, reason=run.record.cancel_reason or content)
    elif kind is ResultType.REJECTION:
        await run.transition(Trigger.FAIL, reason=content[:MAX_REASON])
    else:
        await run.transition(Trigger.FINISH)


async def record_late_result(
    run: LockedRun, call: CallRecord, kind: ResultType, content: str, *, is_text: bool | None = None
) -> None:
    """Store a result that arrived after the run's end as evidence.

    The model sees it only if a failed run continues with another turn: every tool call must be answered.
    """
    failed = CallStatus.FAILURE.value
    await _store_result(run, call, kind, content, is_text=is_text, status=failed, shown=True)
    run.event(CallLate(call_id=call.id, result_type=kind.value, size=len(content)))
    if allows(run.status, Trigger.REVIVE) and run.record.kind != DIRECT:
        late = truncate(content, call_id=call.id) if is_oversized(content) else content
        unasked = kind is ResultType.INTERRUPT
        shown = ResultType.REJECTION if unasked else kind
        await _write_message(
            run, call, shown, _LATE_APPROVAL_REQUEST if unasked else late, summarized=False
        )


async def show_to_model(
    run: LockedRun, call: CallRecord, kind: ResultType, content: str, *, summarized: bool
) -> None:
    """Show the model a shorter text instead of a call's result."""
    await _write_message(run, call, kind, content, summarized=summarized)
    await run.write.execute(UPDATE_CALL, {"of_key": call.key, "shown": True})


async def _write_message(
    run: LockedRun, call: CallRecord, kind: ResultType, content: str, *, summarized: bool
) -> None:
    result = ToolResult(
        id=call.tool_call_id or call.id,
        name=call.tool_name or call.function,
        content=content if call.original_input is None else edited_message(call.input, content),
        is_error=kind is ResultType.REJECTION,
    )
    await run.write.execute(
        _INSERT_MESSAGE,
        {
            "run_key": run.key,
            "id": result_message_id(call),
            "turn": run.turn,
            "step": call.step,
            "type": MessageType.INVOCATION_RESULT.value,
            "data": to_json(result_data(result, call_id=call.id, summarized=summarized)),
            "created_at": run.now,
        },
    )


async def record_timeout(run: LockedRun, lost: TimedOutCall) -> None:
    """Record a failure as the result of a call that Temporal abandoned, unless it has a result.

    On a run that has ended the call stays open: a next turn finds it, with its time over.
    """
    if is_final(run.status):
        return
    call = await find_call(run.write, run.record.cluster_id, lost.call_id)
    if call is None or call.run_key != run.key or call.interruptions != lost.interruptions:
        return  # deleted, or an approval was requested since
    if call.result_type is None:
        await record_result(
            run, call, ResultType.REJECTION, f"The call did not finish in time: {lost.reason}"
        )


async def read_result_slice(read: Read, run_key: int, request: ReadPart) -> ToolResult:
    """Answer the model's request to read a part of a result of its own run."""
    statement = (
        select(
            func.substr(call_results.c.content, request.offset + 1, request.length),
            calls.c.result_size,
        )
        .join(calls, calls.c.key == call_results.c.call_key)
        .where(calls.c.run_key == run_key, calls.c.id == to_storable_text(request.call_id))
    )
    row = (await read.execute(statement)).one_or_none()
    call = request.tool_call
    if row is None:
        return ToolResult(
            call.id,
            call.name,
            f"This run has no result of a call {request.call_id!r}.",
            is_error=True,
        )
    content, size = row
    return ToolResult(
        call.id, call.name, slice_result(content, offset=request.offset, size=size or 0)
    )


def attempts_exhausted(call: CallRecord) -> str | None:
    """The reason why the call must not be leased once more, if there is one."""
    if call.max_attempts and call.attempts >= call.max_attempts:
        last = call.last_error or "its function worker was lost, or it ran out of time"
        tries = "attempt" if call.attempts == 1 else "attempts"
        return f"The function did not return after {call.attempts} {tries}: {last}"
    if call.handouts - call.interruptions - call.attempts >= MAX_UNACKNOWLEDGED:
        return f"The call was leased {call.handouts} times, but no function worker received it."
    return None


async def is_replaced(read: Read, call: CallRecord) -> bool:
    """Whether the reply that requested the call was replaced."""
    statement = select(tables.messages.c.key).where(
        tables.messages.c.run_key == call.run_key,
        tables.messages.c.step == call.step,
        tables.messages.c.type == MessageType.AGENT.value,
        tables.messages.c.replaced_by.is_not(None),
    )
    return (await read.execute(statement.limit(1))).first() is not None
