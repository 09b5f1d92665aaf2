"""Figures: JSON lines as they are taken, and one table of them."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.report.targets import TARGETS, verdict


@dataclass(frozen=True, slots=True)
class Figure:
    """One row. `value` is None where nothing could be measured: `note` says why."""

    section: str
    figure: str
    store: str
    """Which store Perdure had: `sqlite`, `postgresql`, or nothing where there is none."""
    value: float | None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    samples: int = 0
    note: str = ""

    def as_json(self) -> str:
        """One line."""
        return json.dumps(
            {
                name: round(value, 4) if isinstance(value, float) else value
                for name, value in asdict(self).items()
            },
            ensure_ascii=False,
        )


def quantile(samples: Sequence[float], share: float) -> float:
    """The median, or the smallest sample that at least `share` of the samples do not exceed."""
    ordered = sorted(samples)
    if share == 0.5:
        return statistics.median(ordered)
    rank = -(-len(ordered) * share // 1)  # rounded up
    return ordered[max(0, int(rank) - 1)]


@dataclass(frozen=True, slots=True)
class Sheet:
    """Where a section puts its figures."""

    section: str
    store: str
    rows: list[Figure]

    def add(
        self,
        figure: str,
        samples: Sequence[float],
        unit: str,
        *,
        share: float = 0.5,
        note: str = "",
    ) -> float:
        """A figure from samples: their median (or another quantile), with the smallest and the largest."""
        value = quantile(samples, share)
        self._put(
            Figure(
                self.section,
                figure,
                self.store,
                value,
                min(samples),
                max(samples),
                unit,
                len(samples),
                note,
            )
        )
        return value

    def ratio(
        self, figure: str, ours: Sequence[float], theirs: Sequence[float], unit: str, note: str = ""
    ) -> None:
        """The quotients of what was measured in the same rounds."""
        pairs = zip(ours, theirs, strict=True)
        self.add(figure, [mine / other for mine, other in pairs], unit, note=note)

    def fail(self, figure: str, reason: str) -> None:
        """A figure that could not be had."""
        self._put(Figure(self.section, figure, self.store, None, note=reason[:300]))

    def _put(self, row: Figure) -> None:
        self.rows.append(row)
        sys.stdout.write(row.as_json() + "\n")
        sys.stdout.flush()


@dataclass(slots=True)
class Report:
    """All figures of one invocation, and what they were measured on."""

    machine: dict[str, str | float]
    rows: list[Figure] = field(default_factory=list[Figure])
    durability: dict[str, str] = field(default_factory=dict[str, str])
    """What each side keeps per step, and where."""

    def sheet(self, section: str, store: str = "") -> Sheet:
        """Where a section puts its figures."""
        return Sheet(section, store, self.rows)

    def save(self, path: Path) -> None:
        """Keep everything as JSON lines: the machine and the sides first."""
        head = {"machine": self.machine, "durability": self.durability}
        lines = [json.dumps(head, ensure_ascii=False), *(row.as_json() for row in self.rows)]
        path.write_text("\n".join(lines) + "\n")

    @classmethod
    def load(cls, path: Path) -> Report:
        """What `save` kept."""
        first, *rest = path.read_text().splitlines()
        head = json.loads(first)
        rows = [Figure(**json.loads(line)) for line in rest]
        return cls(head["machine"], rows, head["durability"])

    def with_new(self, newer: Report) -> Report:
        """This one with the sections that were measured anew in the place of the old ones."""
        anew = {(row.section, row.store) for row in newer.rows}
        kept = [row for row in self.rows if (row.section, row.store) not in anew]
        order = list(dict.fromkeys(row.section for row in [*self.rows, *newer.rows]))
        rows = sorted([*kept, *newer.rows], key=lambda row: order.index(row.section))
        return Report(newer.machine, rows, self.durability | newer.durability)

    def unmeasured(self) -> list[str]:
        """Figures that have a target and were not measured."""
        measured = {row.figure for row in self.rows if row.value is not None}
        return [figure for figure in TARGETS if figure not in measured]

    def value(self, figure: str, store: str) -> float | None:
        """A figure measured with that store, or with none."""
        for row in self.rows:
            if row.figure == figure and row.store in {store, ""} and row.value is not None:
                return row.value
        return None

    def sides(self) -> str:
        """What each side keeps, as a Markdown table; nothing where only ours were measured."""
        if not self.durability:
            return ""
        lines = [f"| {name} | {_plain(text)} |" for name, text in self.durability.items()]
        return "\n".join(["| side | what is kept per step |", "|---|---|", *lines])

    def table(self) -> str:
        """All figures for people, as a Markdown table."""
        head = "| figure | store | median | spread | unit | must | aim | |"
        lines = [head, "|---|---|---|---|---|---|---|---|"]
        sections = dict.fromkeys(row.section for row in self.rows)
        for section in sections:
            lines.append(f"| **{section}** | | | | | | | |")
            lines += map(_line, _sorted(row for row in self.rows if row.section == section))
        return "\n".join(lines)


def _sorted(rows: Iterable[Figure]) -> list[Figure]:
    """The same figure of both stores side by side, in the order of their first appearance."""
    kept = list(rows)
    order = list(dict.fromkeys(row.figure for row in kept))
    return sorted(kept, key=lambda row: order.index(row.figure))


def number(value: float | None) -> str:
    """For people: about three digits that mean something."""
    if value is None:
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}"


def _line(row: Figure) -> str:
    if row.value is None:
        return f"| {row.figure} | {row.store} | not measured | | | | | {_plain(row.note)} |"
    spread = f"{number(row.low)} … {number(row.high)}" if row.samples > 1 else ""
    judged = verdict(row.figure, row.value)
    words = "; ".join(filter(None, (judged.word, _plain(row.note))))
    return (
        f"| {row.figure} | {row.store} | {number(row.value)} | {spread} | {row.unit}"
        f" | {judged.must} | {judged.aim} | {words} |"
    )


def _plain(text: str) -> str:
    return " ".join(text.replace("|", "/").split())
