"""The table of `docs/operate/durability.md`: `make faults ARGS=--write` puts its rows there, in the place of older ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.faults.checker.outcome import Outcome, table

PAGE = Path(__file__).parents[3] / "docs" / "operate" / "durability.md"
BEGIN, END = "<!-- played: begin -->", "<!-- played: end -->"


def rewritten(page: str, outcomes: Iterable[Outcome]) -> str:
    """The page with these rows. Raises ValueError where a mark is missing."""
    before, rest = page.split(BEGIN)
    shown, after = rest.split(END)
    head, rule, *played = table(outcomes).splitlines()
    rows = {_fault(row): row for row in shown.strip().splitlines()[2:]}
    rows |= {_fault(row): row for row in played}
    lines = "\n".join([head, rule, *rows.values()])
    return f"{before}{BEGIN}\n{lines}\n{END}{after}"


def _fault(row: str) -> str:
    """Its first cell."""
    return row.split("|")[1].strip()
