"""The example's question answered another way: by adding up in Python, without a model and without the policy's SQL."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

from examples.sales.make_data import LAST_DAY

_ORDERS = """
SELECT c.name, p.price * o.quantity, o.ordered_on
FROM orders o JOIN customers c ON c.id = o.customer_id JOIN products p ON p.id = o.product_id
"""
_QUARTER = date(2026, 7, 1)
_QUARTER_BEFORE = date(2026, 4, 1)


def growth_by_customer(database: Path) -> dict[str, float]:
    """How much more each customer ordered in the quarter so far than in the same days of the one before."""
    same_day = _QUARTER_BEFORE + (LAST_DAY - _QUARTER)
    growth: dict[str, float] = defaultdict(float)
    with closing(sqlite3.connect(database)) as connection:
        for name, value, day in connection.execute(_ORDERS):
            ordered_on = date.fromisoformat(day)
            if ordered_on >= _QUARTER:
                growth[name] += value
            elif _QUARTER_BEFORE <= ordered_on < same_day + timedelta(days=1):
                growth[name] -= value
    return dict(growth)


def who_grew_most(database: Path) -> str:
    """The name of the customer."""
    growth = growth_by_customer(database)
    return max(growth, key=lambda name: growth[name])
