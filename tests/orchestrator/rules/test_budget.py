"""When a budget is used up, what it says then, and how it is raised."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from orchestrator.rules.budget import Spent, dollars, exceeded_limit, raise_budget_by
from perdure.contract import Budget

_LIMIT = st.none() | st.integers(1, 100)
_USED = st.integers(0, 200)


@given(_LIMIT, _LIMIT, _LIMIT, st.tuples(_USED, _USED, _USED))
def test_a_limit_that_is_not_reached_never_stops_a_run(
    tokens: int | None, steps: int | None, calls: int | None, used: tuple[int, int, int]
) -> None:
    budget = Budget(tokens=tokens, steps=steps, calls=calls)
    spent = Spent(tokens=used[0], steps=used[1], calls=used[2])
    limit = exceeded_limit(budget, spent)
    reached = {
        "tokens": tokens is not None and used[0] >= tokens,
        "steps": steps is not None and used[1] >= steps,
        "calls": calls is not None and used[2] > calls,
    }
    assert (limit is not None) == any(reached.values())
    assert limit is None or reached[limit.field]


@pytest.mark.parametrize(
    ("budget", "spent", "reason"),
    [
        ({"tokens": 100}, Spent(tokens=120), "The budget of 100 tokens is used up (120)."),
        ({"usd": 0.05}, Spent(micros=50_000), "The budget of $0.05 is used up ($0.05)."),
        ({"usd": 1}, Spent(micros=1_234_567), "The budget of $1.00 is used up ($1.234567)."),
        ({"steps": 2}, Spent(steps=2), "The budget of 2 model steps is used up (2)."),
        ({"calls": 2}, Spent(calls=3), "The budget of 2 calls is used up (3 requested)."),
    ],
)
def test_it_says_how_much_was_used(budget: dict[str, float], spent: Spent, reason: str) -> None:
    limit = exceeded_limit(Budget.model_validate(budget), spent)
    assert limit is not None
    assert limit.reason == reason


def test_what_is_named_is_raised_what_is_null_lifted_the_rest_stays() -> None:
    before = Budget(tokens=10, usd=1.5, steps=3)
    after = raise_budget_by(before, Budget.model_validate({"tokens": 20, "usd": None}))
    assert after == Budget(tokens=20, usd=None, steps=3)


@given(st.integers(0, 10**12))
def test_dollars_are_written_without_losing_a_millionth(micros: int) -> None:
    text = dollars(micros / 1_000_000)
    assert round(float(text[1:]) * 1_000_000) == micros
    assert len(text.partition(".")[2]) >= 2
