"""Decides whether a run's budget is used up. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from perdure.contract import Budget

MICROS = 1_000_000


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run has used so far. `calls` counts requested calls, finished or not."""

    tokens: int = 0
    micros: int = 0
    steps: int = 0
    calls: int = 0


@dataclass(frozen=True, slots=True)
class ExceededLimit:
    """A limit that is reached: the field of the budget and a message."""

    field: str
    reason: str


def exceeded_limit(budget: Budget, spent: Spent) -> ExceededLimit | None:
    """Return the limit that forbids another model step, if any."""
    if budget.tokens is not None and spent.tokens >= budget.tokens:
        return ExceededLimit(
            "tokens", f"The budget of {budget.tokens} tokens is used up ({spent.tokens})."
        )
    if budget.usd is not None and spent.micros >= round(budget.usd * MICROS):
        return ExceededLimit(
            "usd", f"The budget of {dollars(budget.usd)} is used up ({_format_spent(spent)})."
        )
    if budget.steps is not None and spent.steps >= budget.steps:
        return ExceededLimit(
            "steps", f"The budget of {budget.steps} model steps is used up ({spent.steps})."
        )
    return too_many_calls(budget, spent)


def too_many_calls(budget: Budget, spent: Spent) -> ExceededLimit | None:
    """Return the limit that forbids the calls requested last, if any."""
    if budget.calls is None or spent.calls <= budget.calls:
        return None
    return ExceededLimit(
        "calls", f"The budget of {budget.calls} calls is used up ({spent.calls} requested)."
    )


def raise_budget_by(budget: Budget, more: Budget) -> Budget:
    """Return the budget with the limits that `more` sets; a limit set to null is removed."""
    named = {name: getattr(more, name) for name in more.model_fields_set}
    return budget.model_copy(update=named)


def dollars(usd: float) -> str:
    """Format an amount in dollars with all its digits, at least two."""
    whole, _, cents = f"{usd:.6f}".partition(".")
    return f"${whole}.{cents.rstrip('0').ljust(2, '0')}"


def _format_spent(spent: Spent) -> str:
    return dollars(spent.micros / MICROS)
