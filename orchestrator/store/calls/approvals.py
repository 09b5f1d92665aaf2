"""Approvals: requested by functions, decided by people or by a timeout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue
from sqlalchemy import select

from orchestrator.errors import ConflictError, NotFoundError, SupersededError
from orchestrator.rules.approvals import denied_message, expired_message
from orchestrator.rules.lifecycle import EXECUTING, is_final
from orchestrator.runtime.clock import now_ms, to_datetime
from orchestrator.store import tables
from orchestrator.store.calls.attempts import finish_attempt
from orchestrator.store.calls.interruptions import (
    DEFAULT_APPROVAL_SECONDS,
    MAX_INTERRUPTIONS,
    interrupt,
    pause_for_approval,
    resume_if_decided,
)
from orchestrator.store.calls.outcomes import Completed, ResultRecorded, Retry, require_lease
from orchestrator.store.calls.rows import UPDATE_CALL, find_call, record_late_result, record_result
from orchestrator.store.database.engine import Database
from orchestrator.store.database.json_columns import object_from_json, to_json, to_storable_text
from orchestrator.store.functions.available import find_function
from orchestrator.store.records import CallRecord
from orchestrator.store.runs.locked_run import LockedRun
from orchestrator.workflows.interface import CallOutcome
from perdure.contract import (
    ApprovalRequest,
    CallStatus,
    FunctionConfig,
    FunctionReference,
    ResultType,
)
from perdure.contract.event_types import CallApproved, CallDenied

calls, runs = tables.calls, tables.runs

EXPIRY = "expiry"
"""The name recorded for an expired request."""
BATCH = 200
"""Requests processed in one sweep."""
_OPEN_SCHEMA = '{"type":"object"}'


@dataclass(frozen=True, slots=True)
class Decision:
    """A person's decision on a call. `arguments` replace the model's, if given."""

    approved: bool
    by: str
    reason: str | None = None
    arguments: Mapping[str, JsonValue] | None = None


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A call that waits for an approval."""

    call: CallRecord
    run_id: str
    run_name: str


async def require_approvals(run: LockedRun, open_calls: Sequence[CallRecord]) -> bool:
    """Request approvals for those new calls whose function requires one before it runs. True if any."""
    gated = [call for call in open_calls if _needs_approval(call)]
    for call in gated:
        await interrupt(run, call, message=None, seconds=_seconds(call), attempts=0)
    return bool(gated)


def _needs_approval(call: CallRecord) -> bool:
    is_new = call.result_type is None and not call.interruptions
    return is_new and _config(call).requires_approval


def _config(call: CallRecord) -> FunctionConfig:
    return FunctionConfig.model_validate(object_from_json(call.config))


def _seconds(call: CallRecord) -> float:
    return _config(call).approval_expires_seconds or DEFAULT_APPROVAL_SECONDS


class ApprovalStore:
    """Calls that wait for an approval."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def request(
        self,
        cluster_id: str,
        call_id: str,
        machine_id: str,
        attempt: int | None,
        request: ApprovalRequest | str,
    ) -> ResultRecorded:
        """Record a function's approval request instead of its result, from the worker that leases the call.

        Text instead of a request says what is wrong with it: that is a failed attempt. Raises `NotFoundError`,
        `SupersededError`.
        """
        async with self._database.write() as write:
            run = await LockedRun.lock_call(write, cluster_id, call_id)
            current = await find_call(write, cluster_id, call_id)
            call, token = require_lease(current, call_id, machine_id, attempt)
            late = call.kind == "function" and is_final(run.status)
            if late:
                await record_late_result(run, call, ResultType.INTERRUPT, "")
            outcome = None if late else await _interrupt_for_approval(run, call, request)
            await run.save()
        if outcome is None:
            raise SupersededError(
                f"The run is {run.status.value}; approvals are no longer requested."
            )
        return ResultRecorded(run.ref, call, token, outcome)

    async def decide(self, cluster_id: str, call_id: str, decision: Decision) -> CallRecord:
        """Record a person's decision, once: an approved call is run, a denied one is answered.

        Raises `NotFoundError`, or `ConflictError` with the code `approval_not_requested`, `already_decided`,
        `approval_expired`, `approval_closed` or `run_is_final`.
        """
        async with self._database.write() as write:
            run = await LockedRun.lock_call(write, cluster_id, call_id)
            call = await find_call(write, cluster_id, call_id)
            if call is None:
                raise NotFoundError(f"There is no call {call_id!r}.")
            _require_decidable(run, call)
            if decision.approved:
                await _approve(run, call, decision)
            else:
                await _deny(run, call, denied_message(decision.reason), decision)
            run.request_wakeup()
            await run.save()
            after = await find_call(write, cluster_id, call_id)
        return after or call

    async def schema_of(self, cluster_id: str, call_id: str) -> str:
        """The input schema of the call's function, as JSON. Raises `NotFoundError`, `ConflictError` if it is not registered."""
        async with self._database.read() as read:
            call = await find_call(read, cluster_id, call_id)
            if call is None:
                raise NotFoundError(f"There is no call {call_id!r}.")
            reference = FunctionReference(service=call.service, function=call.function)
            function = await find_function(read, cluster_id, reference)
        if function is None:
            raise ConflictError(
                f"{call.service}.{call.function} is not registered just now, so its arguments cannot be checked."
                " Start its function worker, or approve without `input`.",
                code="function_not_registered",
            )
        return function.input_schema or _OPEN_SCHEMA

    async def page(self, cluster_id: str, *, after: int, limit: int) -> list[PendingCall]:
        """Waiting calls, in the order in which they were made; `after` is the key of the last one of the page before."""
        statement = (
            select(calls, runs.c.id.label("of_run"), runs.c.name.label("of_name"))
            .join(runs, runs.c.key == calls.c.run_key)
            .where(
                calls.c.cluster_id == cluster_id,
                calls.c.approval_expires_at.is_not(None),
                calls.c.status == CallStatus.INTERRUPTED.value,
                calls.c.key > after,
                runs.c.status.in_(sorted(EXECUTING)),
                runs.c.cancel_reason.is_(None),
            )
            .order_by(calls.c.key)
            .limit(limit)
        )
        async with self._database.read() as read:
            return [_pending(**row) for row in (await read.execute(statement)).mappings()]

    async def overdue(self) -> list[tuple[str, str]]:
        """Requests that were not decided in time, by cluster and call."""
        statement = (
            select(calls.c.cluster_id, calls.c.id)
            .join(runs, runs.c.key == calls.c.run_key)
            .where(
                calls.c.approval_expires_at <= now_ms(),
                calls.c.status == CallStatus.INTERRUPTED.value,
                runs.c.status.in_(sorted(EXECUTING)),
            )
            .order_by(calls.c.approval_expires_at)
            .limit(BATCH)
        )
        async with self._database.read() as read:
            return [(cluster_id, call_id) for cluster_id, call_id in await read.execute(statement)]

    async def expire(self, cluster_id: str, call_id: str) -> bool:
        """Deny a call because its time is up; False if it was decided before."""
        async with self._database.write() as write:
            try:
                run = await LockedRun.lock_call(write, cluster_id, call_id)
            except NotFoundError:
                return False
            call = await find_call(write, cluster_id, call_id)
            if call is None or not _is_overdue(run, call):
                return False
            waited = (call.approval_expires_at or 0) - (call.approval_requested_at or 0)
            await _deny(run, call, expired_message(waited), Decision(approved=False, by=EXPIRY))
            run.request_wakeup()
            await run.save()
        return True


def _pending(*, of_run: str, of_name: str, **columns: Any) -> PendingCall:
    return PendingCall(CallRecord(**columns), of_run, of_name)


async def _interrupt_for_approval(
    run: LockedRun, call: CallRecord, request: ApprovalRequest | str
) -> Completed | Retry:
    problem = _problem(call, request)
    if problem is not None or isinstance(request, str):
        return await finish_attempt(run, call, ResultType.REJECTION, problem or str(request))
    await interrupt(
        run,
        call,
        message=None if request.message is None else to_storable_text(request.message),
        seconds=request.expires_seconds or _seconds(call),
        attempts=call.attempts - int(call.acknowledged),  # a request costs no attempt
    )
    await pause_for_approval(run)
    return Completed(CallOutcome(call.id, interrupted=True))


def _problem(call: CallRecord, request: ApprovalRequest | str) -> str | None:
    """The reason why no approval is requested, if there is one."""
    if isinstance(request, str):
        return request
    if call.kind != "function":
        return "A status-change handler cannot ask for an approval."
    if call.interruptions >= MAX_INTERRUPTIONS:
        return f"The function asked for an approval {MAX_INTERRUPTIONS} times and asks again. It did not return a result."
    return None


def _require_decidable(run: LockedRun, call: CallRecord) -> None:
    """Raises `ConflictError` if there is nothing to decide (any more)."""
    if not call.interruptions:
        raise ConflictError("The call asks for no approval.", code="approval_not_requested")
    if call.decided_at is not None:
        _raise_already_decided(call)
    if is_final(run.status) or run.record.cancel_reason is not None:
        raise ConflictError(f"The run is {_end_description(run)} already.", code="run_is_final")
    if call.status != CallStatus.INTERRUPTED.value:
        raise ConflictError(
            "The call was cancelled or timed out before it was approved or denied.",
            code="approval_closed",
        )
    if _is_overdue(run, call):
        raise ConflictError("The approval request has expired.", code="approval_expired")


def _end_description(run: LockedRun) -> str:
    return run.status.value if is_final(run.status) else "being cancelled"


def _raise_already_decided(call: CallRecord) -> None:
    if call.decided_by == EXPIRY:
        raise ConflictError("The approval request has expired.", code="approval_expired")
    decision = "approved" if call.approved else "denied"
    when = to_datetime(call.decided_at or 0).isoformat(timespec="seconds")
    raise ConflictError(
        f"The call was {decision} by {call.decided_by} at {when} already.", code="already_decided"
    )


def _is_overdue(run: LockedRun, call: CallRecord) -> bool:
    expires_at = call.approval_expires_at
    waits = call.status == CallStatus.INTERRUPTED.value and not is_final(run.status)
    return waits and expires_at is not None and expires_at <= run.now


async def _approve(run: LockedRun, call: CallRecord, decision: Decision) -> None:
    edited = None if decision.arguments is None else to_json(dict(decision.arguments))
    changes: dict[str, object] = {"status": CallStatus.PENDING.value, "approval_expires_at": None}
    if edited is not None and edited != call.input:
        changes |= {"input": edited, "original_input": call.original_input or call.input}
    await _record_decision(run, call, decision, **changes)
    run.event(
        CallApproved(
            call_id=call.id,
            decided_by=decision.by,
            reason=_storable_or_none(decision.reason),
            edited="input" in changes,
        )
    )
    await resume_if_decided(run)


async def _deny(run: LockedRun, call: CallRecord, content: str, decision: Decision) -> None:
    await _record_decision(run, call, decision)
    run.event(
        CallDenied(
            call_id=call.id, decided_by=decision.by, reason=_storable_or_none(decision.reason)
        )
    )
    await record_result(run, call, ResultType.REJECTION, to_storable_text(content))


async def _record_decision(
    run: LockedRun, call: CallRecord, decision: Decision, **changes: object
) -> None:
    columns = {
        "of_key": call.key,
        "approved": decision.approved,
        "decided_at": run.now,
        "decided_by": to_storable_text(decision.by),
        "decision_reason": _storable_or_none(decision.reason),
    }
    await run.write.execute(UPDATE_CALL, columns | changes)


def _storable_or_none(text: str | None) -> str | None:
    return None if text is None else to_storable_text(text)
