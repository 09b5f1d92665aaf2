"""The execution of calls: leased, acknowledged, finished, superseded."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Integer, bindparam, delete, exists, func, or_, select, update

from orchestrator.errors import ConflictError, NotFoundError, SupersededError
from orchestrator.rules.lifecycle import is_final
from orchestrator.store import tables
from orchestrator.store.calls.attempts import finish_attempt
from orchestrator.store.calls.crash_loops import apply_crash_backoff, record_crash
from orchestrator.store.calls.interruptions import can_run_calls
from orchestrator.store.calls.leases import call_payload, grant_lease, runs_in_process
from orchestrator.store.calls.outcomes import (
    AtCapacity,
    Completed,
    Discarded,
    Leased,
    ResultRecorded,
    is_cancelled_for,
    require_lease,
    to_call_outcome,
)
from orchestrator.store.calls.rows import (
    DIRECT,
    UPDATE_CALL,
    attempts_exhausted,
    call_schedule_in_run,
    find_call,
    is_replaced,
    open_calls,
    record_late_result,
    record_result,
    result_message_id,
    task_queue_name,
)
from orchestrator.store.database.engine import Database
from orchestrator.store.database.json_columns import to_storable_text
from orchestrator.store.database.prepared import prepared_inline
from orchestrator.store.functions.concurrency import (
    concurrency_limit,
    count_running,
    is_at_capacity,
)
from orchestrator.store.records import CallRecord
from orchestrator.store.runs.locked_run import LockedRun
from orchestrator.workflows.interface import CallOutcome, CallRef, PendingRequests, RunRef
from perdure.contract import CallStatus, ResultType
from perdure.contract.event_types import CallCancelled, CallSuperseded

calls = tables.calls

_UNASSIGNED = frozenset({CallStatus.PENDING.value, CallStatus.INTERRUPTED.value})
"""Statuses of calls that are not leased."""

# Built once: building a statement costs more than sending it.
_ACKNOWLEDGE = prepared_inline(
    update(calls)
    .where(
        calls.c.id == bindparam("of_call"),
        calls.c.cluster_id == bindparam("of_cluster"),
        calls.c.machine_id == bindparam("of_machine"),
        calls.c.handouts == func.coalesce(bindparam("of_attempt", type_=Integer), calls.c.handouts),
        calls.c.status == CallStatus.RUNNING.value,
        calls.c.acknowledged.is_(False),
        or_(
            calls.c.kind == "handler",  # a handler is notified of a cancel, not stopped by it
            ~exists().where(
                tables.runs.c.key == calls.c.run_key, tables.runs.c.cancel_reason.is_not(None)
            ),
        ),
    )
    .values(acknowledged=True, attempts=calls.c.attempts + 1)
)


class CallStore:
    """Calls of functions and handlers, from the lease to the result."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lease(
        self,
        call_ref: CallRef,
        machine_id: str,
        token: bytes | None,
        *,
        started: bool = False,
        suspected: bool = False,
    ) -> Leased | AtCapacity | Completed | Discarded:
        """Lease the call to a function worker: committed before the worker is notified.

        A call with a recorded result is not leased again: its outcome is returned instead, as it is when the function's
        attempts are used up. `AtCapacity`: it must wait, because of its function's `concurrency`.
        `started`: the worker is this process and begins at once, so the attempt counts now, and a function in a crash loop may
        pause: that is checked if the call was leased before or its function is `suspected`.
        Without a token the call has no activity, and it is leased only if no machine holds it.
        """
        async with self._database.write() as write:
            try:
                run = await LockedRun.lock(write, call_ref.run)
            except NotFoundError:
                return Discarded("the run was deleted")
            call = await find_call(write, call_ref.run.cluster_id, call_ref.call_id)
            if call is None:
                return Discarded("the call was deleted")
            outcome: Leased | AtCapacity | Completed | Discarded | None = await _blocked_outcome(
                run, call
            )
            if outcome is None and token is None and call.status != CallStatus.PENDING.value:
                outcome = Discarded("another machine works on it")
            if started and not isinstance(outcome, Discarded):
                outcome = await _apply_crash_backoff(
                    run, call, machine_id, outcome, suspected=suspected
                )
            if outcome is None:
                outcome = Leased(
                    call_payload(write.cipher, run.record, call), concurrency_limit(call)
                )
                await grant_lease(run, call, machine_id, token or b"", started=started)
            await run.save()
        return outcome

    async def count_running(self, cluster_id: str, service: str, function: str) -> int:
        """The number of the function's calls that workers are running now."""
        async with self._database.read() as read:
            return await count_running(read, cluster_id, service, function)

    async def acknowledge(
        self, cluster_id: str, call_id: str, machine_id: str, attempt: int | None
    ) -> bool:
        """A function worker confirms this lease for the first time: the function's attempt counts.

        False if that was confirmed before, or the lease is not current, or a cancel of the run is requested: read `get_lease`.
        """
        holder = {
            "of_call": call_id,
            "of_cluster": cluster_id,
            "of_machine": machine_id,
            "of_attempt": attempt,
        }
        return await self._database.write_one(_ACKNOWLEDGE, holder) == 1

    async def get_lease(
        self, cluster_id: str, call_id: str, machine_id: str, attempt: int | None
    ) -> tuple[bytes, bool]:
        """The token of a call that this worker leases, and whether its run has a cancel request.

        The token is empty if the call itself was cancelled. Raises `NotFoundError`, `SupersededError`.
        """
        async with self._database.read() as read:
            found = await find_call(read, cluster_id, call_id)
        if found is not None and is_cancelled_for(found, machine_id, attempt):
            return b"", True
        call, token = require_lease(found, call_id, machine_id, attempt)
        return token, call.kind == "function" and await self._is_cancel_requested(call.run_key)

    async def _is_cancel_requested(self, run_key: int) -> bool:
        statement = select(tables.runs.c.cancel_reason).where(tables.runs.c.key == run_key)
        async with self._database.read() as read:
            row = (await read.execute(statement)).one_or_none()
        return row is None or row[0] is not None  # none: the run was deleted

    async def accept_result(
        self,
        cluster_id: str,
        call_id: str,
        machine_id: str,
        attempt: int | None,
        *,
        kind: ResultType,
        content: str,
        is_text: bool | None = None,
    ) -> ResultRecorded:
        """Record a result from the worker that leases the call, and from no other.

        A rejection with attempts left is not a result yet. Raises `NotFoundError`, `SupersededError`. A result that arrives
        after the run's end is stored, but not shown.
        """
        async with self._database.write() as write:
            run = await LockedRun.lock_call(write, cluster_id, call_id)
            current = await find_call(write, cluster_id, call_id)
            call, token = require_lease(current, call_id, machine_id, attempt)
            if call.kind == "function" and is_final(run.status):
                await record_late_result(run, call, kind, content, is_text=is_text)
                outcome = None
            else:
                outcome = await finish_attempt(run, call, kind, content, is_text=is_text)
            await run.save()
        if outcome is None:
            raise SupersededError(
                f"The run is {run.status.value}; the result was stored, but the run no longer uses it."
            )
        return ResultRecorded(run.ref, call, token, outcome)

    async def cancel(self, cluster_id: str, call_id: str, reason: str | None) -> None:
        """Cancel a call: that is its result and the model continues with it; a direct call's run is cancelled.

        Raises `NotFoundError`, or `ConflictError` with the code `call_is_finished`,
        `run_is_final` or `not_cancellable`.
        """
        async with self._database.write() as write:
            run = await LockedRun.lock_call(write, cluster_id, call_id)
            call = await find_call(write, cluster_id, call_id)
            if call is None:
                raise NotFoundError(f"There is no call {call_id!r}.")
            _check_cancellable(run, call)
            content = "The call was cancelled" + (
                f": {to_storable_text(reason)}" if reason else "."
            )
            await write.execute(UPDATE_CALL, {"of_key": call.key, "cancelled": True})
            run.event(CallCancelled(call_id=call_id, reason=reason))
            await record_result(run, replace(call, cancelled=True), ResultType.REJECTION, content)
            run.request_wakeup()
            await run.save()

    async def supersede(self, call: CallRecord) -> bool:
        """Discard a result that Temporal rejected, because the call was leased to another worker meanwhile.

        False for a direct call: its result counts all the same.
        """
        async with self._database.write() as write:
            run = await LockedRun.lock_key(write, call.run_key)
            current = await find_call(write, call.cluster_id, call.id)
            if current is None or current.handouts != call.handouts or current.result_type is None:
                return True
            if run.record.kind == DIRECT:
                return False  # its caller may have read it
            if current.step is not None and run.record.step > current.step:
                return True  # the model has read it
            if await is_replaced(write, current):
                return True  # and never will
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
            run.event(CallSuperseded(call_id=call.id, attempt=call.handouts))
            # a model request with this result may be in progress: its reply is discarded
            run.set(rewinds=run.record.rewinds + 1)
            run.request_wakeup()
            await run.save()
        return True

    async def log_superseded(self, cluster_id: str, call_id: str, machine_id: str) -> None:
        """Record on a running run that a result was discarded, if its sender cannot be notified."""
        async with self._database.write() as write:
            run = await LockedRun.lock_call(write, cluster_id, call_id)
            call = await find_call(write, cluster_id, call_id)
            if call is not None and call.kind == "function" and not is_final(run.status):
                run.event(CallSuperseded(call_id=call_id, machine_id=to_storable_text(machine_id)))
                await run.save()

    async def read_pending_requests(self, ref: RunRef) -> PendingRequests:
        """Read the requests to a run that its workflow must know while it waits for activities."""
        async with self._database.write() as write:
            run = await LockedRun.lock(write, ref)
            run.mark_requests_read()
            await run.save()
            waiting = await open_calls(write, run.key)
        idle = all(call.status in _UNASSIGNED for call in waiting)
        return PendingRequests(
            cancel_wanted=run.record.cancel_reason is not None and not is_final(run.status),
            parked=run.record.parked and bool(waiting) and idle,
            settled=await self._completed_calls(run.key, run.record.step),
            over=is_final(run.status),
            rewound=run.record.rewinds_read < run.record.rewinds,
            orders=[call_schedule_in_run(run, call) for call in waiting if _is_approved(run, call)],
        )

    async def _completed_calls(self, run_key: int, step: int) -> list[CallOutcome]:
        known = or_(
            calls.c.result_type.is_not(None), calls.c.status == CallStatus.INTERRUPTED.value
        )
        statement = select(calls).where(calls.c.run_key == run_key, calls.c.step == step, known)
        async with self._database.read() as read:
            rows = (await read.execute(statement)).mappings()
            return [to_call_outcome(CallRecord(**row)) for row in rows]


def _is_approved(run: LockedRun, call: CallRecord) -> bool:
    """Whether a decision made the call runnable, which the workflow may not know yet."""
    return can_run_calls(run) and bool(call.approved) and call.status == CallStatus.PENDING.value


def _check_cancellable(run: LockedRun, call: CallRecord) -> None:
    if call.kind != "function":
        raise ConflictError("A delivery to a handler cannot be cancelled.", code="not_cancellable")
    if call.result_type is not None:
        raise ConflictError("The call has its result already.", code="call_is_finished")
    if is_final(run.status):
        raise ConflictError(f"The run is {run.status.value} already.", code="run_is_final")


async def _apply_crash_backoff(
    run: LockedRun,
    call: CallRecord,
    machine_id: str,
    outcome: Leased | AtCapacity | Completed | None,
    *,
    suspected: bool,
) -> Leased | AtCapacity | Completed | None:
    """The state of a hosted call whose former process may have died unnoticed."""
    was_lost = call.status == CallStatus.RUNNING.value and call.machine_id != machine_id
    if was_lost and call.machine_id is not None and not isinstance(outcome, AtCapacity):
        queue = task_queue_name(call.cluster_id, call.service, call.function)
        await record_crash(run.write, [queue], call.machine_id)
    if outcome is None and (suspected or call.handouts):
        return await apply_crash_backoff(run, call)
    return outcome


async def _blocked_outcome(
    run: LockedRun, call: CallRecord
) -> AtCapacity | Completed | Discarded | None:
    """The reason why the call is not leased (any more), if there is one."""
    if call.result_type is not None or call.status == CallStatus.INTERRUPTED.value:
        return Completed(to_call_outcome(call))
    if call.kind == "function" and is_final(run.status):
        return Discarded(f"the run is {run.status.value}")
    if await runs_in_process(run.write, call):
        return AtCapacity(None)
    reason = attempts_exhausted(call)
    if reason is not None and call.kind == "function":
        oversized = await record_result(run, call, ResultType.REJECTION, reason)
        return Completed(CallOutcome(call.id, oversized))
    return (
        AtCapacity(concurrency_limit(call) or 0) if await is_at_capacity(run.write, call) else None
    )
