"""Figures as JSON lines, and the table of them."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Report:
    """Collects figures; each is printed as a JSON line the moment it is known."""

    rows: list[tuple[str, float, tuple[float, float] | None, str]] = field(
        default_factory=list[tuple[str, float, tuple[float, float] | None, str]]
    )

    def add(
        self,
        figure: str,
        samples: Sequence[float],
        unit: str,
        *,
        quantile: float = 0.5,
        **more: object,
    ) -> float:
        """A figure from samples: their median (or quantile), with the smallest and the largest as spread."""
        ordered = sorted(samples)
        value = (
            statistics.median(ordered)
            if quantile == 0.5
            else ordered[min(len(ordered) - 1, int(len(ordered) * quantile))]
        )
        spread = (ordered[0], ordered[-1])
        self.rows.append((figure, value, spread if len(ordered) > 1 else None, unit))
        line = {
            "figure": figure,
            "value": round(value, 4),
            "spread": [round(edge, 4) for edge in spread],
            "unit": unit,
            "samples": len(ordered),
            **more,
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        return value

    def table(self) -> str:
        """All figures for people, as a Markdown table."""
        lines = ["| figure | median | spread | unit |", "|---|---|---|---|"]
        for figure, value, spread, unit in self.rows:
            edges = "" if spread is None else f"{spread[0]:.2f} … {spread[1]:.2f}"
            lines.append(f"| {figure} | {value:.2f} | {edges} | {unit} |")
        return "\n".join(lines)
