"""The limits of a run, enforced inside a transaction on it: its budget and its deadline."""

from __future__ import annotations

from orchestrator.errors import ConflictError, InvalidRequestError
from orchestrator.rules.budget import (
    ExceededLimit,
    Spent,
    exceeded_limit,
    raise_budget_by,
    too_many_calls,
)
from orchestrator.rules.lifecycle import Trigger, is_final
from orchestrator.runtime.clock import to_datetime
from orchestrator.store.database.json_columns import to_json
from orchestrator.store.records import RunRecord
from orchestrator.store.runs.locked_run import LockedRun
from perdure.contract import Budget, PausedFor, RunStatus
from perdure.contract.event_types import BudgetChanged


def is_over_limits(run: RunRecord, now: int) -> bool:
    """Whether the run must not begin another model step."""
    return is_overdue(run, now) or _used_up(run) is not None


def is_overdue(run: RunRecord, now: int) -> bool:
    return run.deadline_at is not None and run.deadline_at <= now


async def fail_overdue(run: LockedRun) -> bool:
    """End a turn whose deadline has passed; True if it was so. A pending cancel request has precedence."""
    deadline = run.record.deadline_at
    if deadline is None or deadline > run.now or is_final(run.status):
        return False
    at = to_datetime(deadline).isoformat(timespec="milliseconds")
    await run.abort_turn(Trigger.FAIL, f"The run's deadline passed at {at}.")
    return True


async def pause_if_over_budget(run: LockedRun) -> bool:
    """Pause a running run that may not begin another model step; True if it was so."""
    limit = _used_up(run.record)
    if limit is None:
        return False
    await _pause(run, limit)
    return True


async def count_calls(run: LockedRun, new_calls: int) -> None:
    """Count the calls of a reply. Beyond the budget the run pauses before any of them is leased."""
    if not new_calls:
        return
    calls = run.record.function_calls + new_calls
    run.set(function_calls=calls)
    budget = budget_of(run.record)
    limit = None if budget is None else too_many_calls(budget, Spent(calls=calls))
    if limit is not None and run.status is RunStatus.RUNNING:
        await _pause(run, limit)


def raise_budget(run: LockedRun, more: Budget | None) -> None:
    """Apply a higher budget, and check that the run can continue with it.

    Raises `InvalidRequestError` (code `budget_too_small`) if a given limit is used up already, `ConflictError` (code
    `budget_exhausted`) if one is that was not given.
    """
    before = budget_of(run.record)
    if before is None and more is None:
        return
    budget = before or Budget()
    if more is not None:
        budget = raise_budget_by(budget, more)
        run.set(budget=to_json(budget.model_dump(exclude_none=True)))
        run.event(BudgetChanged(budget=budget.model_dump(exclude_none=True)))
    limit = exceeded_limit(budget, spent_of(run.record))
    if limit is None:
        return
    if more is not None and limit.field in more.model_fields_set:
        raise InvalidRequestError(
            f"{limit.reason} Give more than that.",
            pointer=f"/budget/{limit.field}",
            code="budget_too_small",
        )
    raise ConflictError(
        f"{limit.reason} Resume the run with a higher budget.{limit.field}.",
        code="budget_exhausted",
    )


def budget_of(run: RunRecord) -> Budget | None:
    return None if run.budget is None else Budget.model_validate_json(run.budget)


def spent_of(run: RunRecord) -> Spent:
    return Spent(
        tokens=run.input_tokens
        + run.output_tokens
        + run.cache_read_tokens
        + run.cache_write_tokens,
        micros=run.cost_micros,
        steps=run.model_calls,
        calls=run.function_calls,
    )


def _used_up(run: RunRecord) -> ExceededLimit | None:
    budget = budget_of(run)
    return None if budget is None else exceeded_limit(budget, spent_of(run))


async def _pause(run: LockedRun, limit: ExceededLimit) -> None:
    await run.transition(Trigger.PAUSE, reason=limit.reason, paused_for=PausedFor.BUDGET)
