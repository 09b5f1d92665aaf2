"""Calls on their way: handed out, acknowledged, finished, superseded."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue
from sqlalchemy import Integer, bindparam, delete, exists, func, or_, select, update

from orchestrator.activity_interface import CallOutcome, CallTicket, RunRef, Seen
from orchestrator.errors import NotFoundError, SupersededError
from orchestrator.lifecycle import is_final
from orchestrator.store import tables
from orchestrator.store.call_rows import (
    UPDATE_CALL,
    answer,
    exhausted,
    find_call,
    keep_late,
    open_calls,
    result_message_id,
    show,
)
from orchestrator.store.engine import Database
from orchestrator.store.functions import retries_stalls_only
from orchestrator.store.json_text import load, load_object, storable
from orchestrator.store.open_run import OpenRun
from orchestrator.store.records import CallRecord
from orchestrator.transcript import cut, summarized as summarized_text
from perdure.contract import CallStatus, FunctionCall, FunctionReference, ResultType

calls = tables.calls

FIRST_RETRY_DELAY = 1.0
MAX_RETRY_DELAY = 60.0
"""Seconds between a function's attempts: 1, 2, 4 … up to 60; for handlers too, until their deadline."""


# Made once: building a statement costs more than sending it.
_ACKNOWLEDGE = (
    update(calls)
    .where(
        calls.c.id == bindparam("of_call"),
        calls.c.cluster_id == bindparam("of_cluster"),
        calls.c.machine_id == bindparam("of_machine"),
        calls.c.handouts == func.coalesce(bindparam("of_attempt", type_=Integer), calls.c.handouts),
        calls.c.status == CallStatus.RUNNING.value,
        calls.c.acknowledged.is_(False),
        or_(
            calls.c.kind == "handler",  # a handler is told of a cancel, not stopped by it
            ~exists().where(
                tables.runs.c.key == calls.c.run_key, tables.runs.c.cancel_reason.is_not(None)
            ),
        ),
    )
    .values(acknowledged=True, attempts=calls.c.attempts + 1)
)


@dataclass(frozen=True, slots=True)
class Settled:
    """The call has its result: complete its activity with the outcome."""

    outcome: CallOutcome


@dataclass(frozen=True, slots=True)
class Again:
    """The attempt failed and another is allowed: fail the activity, to be retried after so many seconds."""

    reason: str
    delay: float


@dataclass(frozen=True, slots=True)
class Unwanted:
    """Nobody waits for this call any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class Finished:
    """What the poster of a result must see done: the activity's token, and what to tell Temporal."""

    run: RunRef
    call: CallRecord
    token: bytes
    verdict: Settled | Again


class CallStore:
    """Calls of functions and handlers, from the hand-out to the result."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def hand_out(
        self, ticket: CallTicket, machine_id: str, token: bytes
    ) -> FunctionCall | Settled | Unwanted:
        """Give the call to a machine: committed before anybody is told.

        A call with a recorded result is not given out again: its outcome comes back instead, and so it is when
        the function's attempts are used up.
        """
        async with self._database.write() as write:
            try:
                run = await OpenRun.lock(write, ticket.run)
            except NotFoundError:
                return Unwanted("the run was deleted")
            call = await find_call(write, ticket.run.cluster_id, ticket.call_id)
            if call is None:
                return Unwanted("the call was deleted")
            if call.result_type is not None:
                return Settled(_outcome(call))
            if call.kind == "function" and is_final(run.status):
                return Unwanted(f"the run is {run.status.value}")
            reason = exhausted(call)
            if reason is not None and call.kind == "function":
                oversized = await answer(run, call, ResultType.REJECTION, reason)
                await run.save()
                return Settled(CallOutcome(call.id, oversized))
            await _give(run, call, machine_id, token)
            await run.save()
        return FunctionCall(
            id=call.id,
            service=call.service,
            function=call.function,
            input=load(call.input),
            run_id=ticket.run.run_id,
            run_context=None if run.record.context is None else load_object(run.record.context),
            attempt=call.handouts + 1,
            timeout_seconds=call.timeout_ms / 1000,
            handler=call.kind == "handler",
        )

    async def acknowledge(
        self, cluster_id: str, call_id: str, machine_id: str, attempt: int | None
    ) -> bool:
        """A machine says for the first time that it works on this hand-out: the function's attempt counts.

        False where that is known already, or is not so, or the run is to be cancelled: look at the `lease`.
        """
        holder = {
            "of_call": call_id,
            "of_cluster": cluster_id,
            "of_machine": machine_id,
            "of_attempt": attempt,
        }
        async with self._database.write() as write:
            return (await write.execute(_ACKNOWLEDGE, holder)).rowcount == 1

    async def lease(
        self, cluster_id: str, call_id: str, machine_id: str, attempt: int | None
    ) -> tuple[bytes, bool]:
        """The token of a call that this machine holds, and whether its run wants it cancelled.

        Raises `NotFoundError`, `SupersededError`.
        """
        async with self._database.read() as read:
            found = await find_call(read, cluster_id, call_id)
        call, token = _held(found, call_id, machine_id, attempt)
        return token, call.kind == "function" and await self._is_unwanted(call.run_key)

    async def _is_unwanted(self, run_key: int) -> bool:
        statement = select(tables.runs.c.cancel_reason).where(tables.runs.c.key == run_key)
        async with self._database.read() as read:
            return (await read.execute(statement)).scalar_one() is not None

    async def finish(
        self,
        cluster_id: str,
        call_id: str,
        machine_id: str,
        attempt: int | None,
        *,
        kind: ResultType,
        content: str,
    ) -> Finished:
        """Take a result from the machine that holds the call, and from no other.

        A rejection with attempts left is not a result yet. Raises `NotFoundError`, `SupersededError`; a result that
        comes after the run's end is kept, but not shown.
        """
        async with self._database.write() as write:
            run = await OpenRun.lock_call(write, cluster_id, call_id)
            current = await find_call(write, cluster_id, call_id)
            call, token = _held(current, call_id, machine_id, attempt)
            if call.kind == "function" and is_final(run.status):
                await keep_late(run, call, kind, content)
                verdict = None
            else:
                verdict = await _finish(run, call, kind, content)
            await run.save()
        if verdict is None:
            raise SupersededError(
                f"The run is {run.status.value}; the result is not wanted any more."
            )
        return Finished(run.ref, call, token, verdict)

    async def supersede(self, call: CallRecord) -> None:
        """Take a result back that Temporal refused: the call was given to somebody else already."""
        async with self._database.write() as write:
            run = await OpenRun.lock_key(write, call.run_key)
            current = await find_call(write, call.cluster_id, call.id)
            if current is None or current.handouts != call.handouts or current.result_type is None:
                return
            if current.step is not None and run.record.step > current.step:
                return  # the model has read it
            results, messages = tables.call_results, tables.messages
            await write.execute(delete(results).where(results.c.call_key == call.key))
            await write.execute(
                delete(messages).where(
                    messages.c.run_key == run.key, messages.c.id == result_message_id(call)
                )
            )
            await write.execute(
                UPDATE_CALL,
                {
                    "of_key": call.key,
                    "status": CallStatus.PENDING.value,
                    "result_type": None,
                    "result_size": None,
                    "oversized": False,
                    "shown": False,
                    "finished_at": None,
                    "task_token": None,
                },
            )
            run.event("call.superseded", callId=call.id, attempt=call.handouts)
            await run.save()

    async def note_superseded(self, cluster_id: str, call_id: str, machine_id: str) -> None:
        """Say on a run that goes on that a result was not taken, where its poster cannot be told."""
        async with self._database.write() as write:
            run = await OpenRun.lock_call(write, cluster_id, call_id)
            call = await find_call(write, cluster_id, call_id)
            if call is not None and call.kind == "function" and not is_final(run.status):
                run.event("call.superseded", callId=call_id, machineId=storable(machine_id))
                await run.save()

    async def look(self, ref: RunRef) -> Seen:
        """Read the wishes of a run: what its workflow must know while it waits for activities."""
        async with self._database.write() as write:
            run = await OpenRun.lock(write, ref)
            run.read_wishes()
            await run.save()
            waiting = await open_calls(write, run.key)
        idle = all(call.status == CallStatus.PENDING.value for call in waiting)
        return Seen(
            cancel_wanted=run.record.cancel_reason is not None and not is_final(run.status),
            parked=run.record.parked and bool(waiting) and idle,
            settled=await self._settled(run.key, run.record.step),
        )

    async def _settled(self, run_key: int, step: int) -> list[CallOutcome]:
        statement = select(calls).where(
            calls.c.run_key == run_key, calls.c.step == step, calls.c.result_type.is_not(None)
        )
        async with self._database.read() as read:
            rows = (await read.execute(statement)).mappings()
            return [_outcome(CallRecord(**row)) for row in rows]

    async def original(self, ref: RunRef, call_id: str) -> tuple[str, bool] | None:
        """A result's whole content and whether it still has to be shown; None where there is none."""
        results = tables.call_results
        statement = (
            select(results.c.content, calls.c.shown)
            .join(calls, calls.c.key == results.c.call_key)
            .where(calls.c.cluster_id == ref.cluster_id, calls.c.id == call_id)
        )
        async with self._database.read() as read:
            row = (await read.execute(statement)).one_or_none()
        return None if row is None else (row[0], not row[1])

    async def show_summary(self, ref: RunRef, call_id: str, summary: str, size: int) -> None:
        """Show the model a summary instead of the result; once."""
        text = summarized_text(storable(summary), size=size, call_id=call_id)
        await self._show_instead(ref, call_id, text, summarized=True)

    async def show_beginning(self, ref: RunRef, call_id: str, content: str) -> None:
        """Show the model the beginning of a result of which no summary could be had; once."""
        await self._show_instead(ref, call_id, cut(content, call_id=call_id), summarized=False)

    async def _show_instead(
        self, ref: RunRef, call_id: str, text: str, *, summarized: bool
    ) -> None:
        async with self._database.write() as write:
            run = await OpenRun.lock(write, ref)
            call = await find_call(write, ref.cluster_id, call_id)
            if call is None or call.shown or call.result_type is None:
                return
            await show(run, call, ResultType(call.result_type), text, summarized=summarized)
            run.event(
                "call.summarized" if summarized else "call.cut",
                callId=call_id,
                size=call.result_size,
                shownSize=len(text),
            )
            await run.save()


async def _give(run: OpenRun, call: CallRecord, machine_id: str, token: bytes) -> None:
    handout = call.handouts + 1
    await run.write.execute(
        UPDATE_CALL,
        {
            "of_key": call.key,
            "status": CallStatus.RUNNING.value,
            "handouts": handout,
            "acknowledged": False,
            "machine_id": machine_id,
            "task_token": token,
            "handed_out_at": run.now,
        },
    )
    if call.kind == "function":
        run.stop_waiting()
        run.event("call.started", callId=call.id, machineId=machine_id, attempt=handout)


async def _finish(
    run: OpenRun, call: CallRecord, kind: ResultType, content: str
) -> Settled | Again:
    attempts = call.attempts + int(not call.acknowledged)
    if not (kind is ResultType.REJECTION and await _may_try_again(run, call, attempts)):
        if call.kind == "handler":
            await _delivered(run, call)
        oversized = await answer(run, call, kind, content, attempts=attempts)
        return Settled(CallOutcome(call.id, oversized))
    delay = min(MAX_RETRY_DELAY, FIRST_RETRY_DELAY * 2 ** min(attempts - 1, 10))
    reason = storable(content)[:2_000]
    await run.write.execute(
        UPDATE_CALL,
        {
            "of_key": call.key,
            "status": CallStatus.PENDING.value,
            "attempts": attempts,
            "acknowledged": True,
            "last_error": reason,
            "task_token": None,
        },
    )
    if call.kind == "function":
        run.event("call.retried", callId=call.id, attempt=call.handouts, error=reason, delay=delay)
    return Again(reason, delay)


async def _may_try_again(run: OpenRun, call: CallRecord, attempts: int) -> bool:
    """Whether a call whose function raised is handed out once more. A handler's always is, until its deadline."""
    if call.max_attempts == 0:
        return True
    reference = FunctionReference(service=call.service, function=call.function)
    return attempts < call.max_attempts and not await retries_stalls_only(
        run.write, call.cluster_id, reference
    )


async def _delivered(run: OpenRun, call: CallRecord) -> None:
    rows = tables.deliveries
    await run.write.execute(
        update(rows)
        .where(rows.c.run_key == run.key, rows.c.call_key == call.key)
        .values(status="delivered", settled_at=run.now)
    )


def _held(
    call: CallRecord | None, call_id: str, machine_id: str, attempt: int | None
) -> tuple[CallRecord, bytes]:
    """The call and its activity's token, if this machine holds it now, by this hand-out."""
    if call is None:
        raise NotFoundError(f"There is no call {call_id!r}.")
    if call.result_type is not None:
        raise SupersededError("The call has its result already; this one was not taken.")
    held = call.status == CallStatus.RUNNING.value and call.machine_id == machine_id
    if not held or call.task_token is None or attempt not in {None, call.handouts}:
        raise SupersededError(
            "The call is not this machine's (any more); the result was not taken."
        )
    return call, call.task_token


def _outcome(call: CallRecord) -> CallOutcome:
    return CallOutcome(call.id, call.oversized and not call.shown)


def content_of(kind: ResultType, result: JsonValue, text: str) -> str:
    """What the model reads of a result: a string's own characters, else its JSON text."""
    if isinstance(result, str):
        return storable(result)
    if kind is ResultType.REJECTION and isinstance(result, dict) and "message" in result:
        name = result.get("name")
        return storable(f"{name}: {result['message']}" if name else str(result["message"]))
    return text
