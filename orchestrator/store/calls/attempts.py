"""How one attempt of a call ends: with a result, or with a retry."""

from __future__ import annotations

from orchestrator.rules.lifecycle import is_final
from orchestrator.store.calls.outcomes import Completed, Retry
from orchestrator.store.calls.rows import UPDATE_CALL, record_result
from orchestrator.store.database.json_columns import to_storable_text
from orchestrator.store.functions.available import config_of
from orchestrator.store.records import CallRecord
from orchestrator.store.runs.locked_run import LockedRun
from orchestrator.store.runs.outbox import mark_delivered
from orchestrator.workflows.interface import CallOutcome
from perdure.contract import CallStatus, ResultType, RetryPolicy
from perdure.contract.event_types import CallLost, CallRetried


async def finish_attempt(
    run: LockedRun, call: CallRecord, kind: ResultType, content: str, *, is_text: bool | None = None
) -> Completed | Retry:
    """Record the result; a rejection with attempts left is retried instead."""
    attempts = call.attempts + int(not call.acknowledged)
    if not (kind is ResultType.REJECTION and _has_attempts_left(call, attempts)):
        if call.kind == "handler":
            await mark_delivered(run.write, call, run.now)
        oversized = await record_result(
            run, call, kind, content, is_text=is_text, attempts=attempts
        )
        return Completed(CallOutcome(call.id, oversized))
    delay = retry_delay(config_of(call.config).retry or RetryPolicy(), attempts)
    reason = to_storable_text(content)[:2_000]
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
        run.event(CallRetried(call_id=call.id, attempt=call.handouts, error=reason, delay=delay))
    return Retry(reason, delay)


async def fail_lost_attempt(run: LockedRun, call: CallRecord) -> None:
    """The function worker that leases the call is dead: the call waits for another one. An acknowledged attempt stays counted.

    The token is kept: the process that recovers the call may die before the server knows.
    """
    await run.write.execute(UPDATE_CALL, {"of_key": call.key, "status": CallStatus.PENDING.value})
    if call.kind == "function" and not is_final(run.status):
        run.event(CallLost(call_id=call.id, attempt=call.handouts, machine_id=call.machine_id))


def retry_delay(policy: RetryPolicy, attempts: int) -> float:
    """Seconds until the next attempt, after that many failed ones."""
    delay = policy.initial_seconds
    for _ in range(attempts - 1):
        if delay >= policy.maximum_seconds or policy.coefficient == 1:
            break
        delay *= policy.coefficient
    return min(delay, policy.maximum_seconds)


def _has_attempts_left(call: CallRecord, attempts: int) -> bool:
    """Whether a call whose function raised is leased once more. A handler's always is, until its deadline.

    A function may be retried when it was lost (`retryCountOnStall`) but not when it raised (`retries`).
    """
    if call.max_attempts == 0:
        return True
    config = config_of(call.config)
    stalls_only = config.retries is None and bool(config.retry_count_on_stall)
    return attempts < call.max_attempts and not stalls_only
