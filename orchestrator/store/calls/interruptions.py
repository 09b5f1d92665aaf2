"""Calls that wait for an approval, and the run that waits for them."""

from __future__ import annotations

from sqlalchemy import bindparam, select, update

from orchestrator.rules.lifecycle import APPROVABLE, Trigger
from orchestrator.runtime.clock import to_datetime
from orchestrator.store import tables
from orchestrator.store.database.engine import Read
from orchestrator.store.records import CallRecord
from orchestrator.store.runs.locked_run import LockedRun
from perdure.contract import CallStatus, PausedFor, RunStatus
from perdure.contract.event_types import CallInterrupted

calls = tables.calls

DEFAULT_APPROVAL_SECONDS = 7 * 86_400.0
"""Seconds after which an undecided request counts as denied, if the function names no other time."""
MAX_INTERRUPTIONS = 10
"""Maximum approval requests of one call."""
_MAX_NAMED = 5
"""Maximum functions named in the reason of a paused run."""

# Built once: building a statement costs more than sending it.
_INTERRUPTED = (
    select(calls.c.service + "." + calls.c.function)
    .where(calls.c.run_key == bindparam("of_run"), calls.c.status == CallStatus.INTERRUPTED.value)
    .order_by(calls.c.key)
)
_INTERRUPT = update(calls).where(calls.c.key == bindparam("of_key"))


async def interrupt(
    run: LockedRun, call: CallRecord, *, message: str | None, seconds: float, attempts: int
) -> None:
    """Let the call wait for an approval for that many seconds. An earlier decision on it is discarded."""
    expires_at = run.now + int(seconds * 1000)
    await run.write.execute(
        _INTERRUPT,
        {
            "of_key": call.key,
            "status": CallStatus.INTERRUPTED.value,
            "interruptions": call.interruptions + 1,
            "attempts": attempts,
            "task_token": None,
            "approval_requested_at": run.now,
            "approval_expires_at": expires_at,
            "approval_message": message,
            "approved": None,
            "decided_at": None,
            "decided_by": None,
            "decision_reason": None,
        },
    )
    run.event(
        CallInterrupted(
            call_id=call.id,
            service=call.service,
            function=call.function,
            message=message,
            expires_at=to_datetime(expires_at).isoformat(),
        )
    )


async def pause_for_approval(run: LockedRun) -> None:
    """Pause the run if calls of it wait for an approval; once for all of them, naming their functions."""
    if run.status not in APPROVABLE and not is_paused_for_approval(run):
        return
    names = await _interrupted(run.write, run.key)
    if not names:
        return
    reason = f"Approval is asked for: {', '.join(names[:_MAX_NAMED])}"
    reason += f" and {len(names) - _MAX_NAMED} more." if len(names) > _MAX_NAMED else "."
    if is_paused_for_approval(run):
        run.set(paused_reason=reason)
        return
    if run.status is RunStatus.PENDING:
        await run.transition(Trigger.BEGIN)
    await run.transition(Trigger.PAUSE, reason=reason, paused_for=PausedFor.APPROVAL)


async def resume_if_decided(run: LockedRun) -> None:
    """Let the run continue when none of its calls waits for an approval any more."""
    if is_paused_for_approval(run) and not await _interrupted(run.write, run.key):
        await run.transition(Trigger.RESUME)


def is_paused_for_approval(run: LockedRun) -> bool:
    """Whether the run waits for approvals, and for nothing else."""
    return run.status is RunStatus.PAUSED and run.paused_for is PausedFor.APPROVAL


def can_run_calls(run: LockedRun) -> bool:
    """Whether calls of the run are run, except those that wait for an approval."""
    return run.status is RunStatus.RUNNING or is_paused_for_approval(run)


def is_runnable(call: CallRecord) -> bool:
    """Whether the call has no result yet, and needs no approval (any more)."""
    return call.result_type is None and call.status != CallStatus.INTERRUPTED.value


async def _interrupted(read: Read, run_key: int) -> list[str]:
    return list((await read.execute(_INTERRUPTED, {"of_run": run_key})).scalars())
