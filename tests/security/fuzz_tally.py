"""What was played by the fuzz: counted as it goes, printed as a report, and kept as the tables of `docs/operate/security.md`."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tests.docs.doc_blocks import REPOSITORY

FIGURES = Path(__file__).with_name("fuzz_figures.json")
PAGE = REPOSITORY / "docs" / "operate" / "security.md"
CLASSES = ("accepted", "refused", "without a key", "failed")
"""Of answers: below 400; 400 to 499; the 401 to who sent no key or a wrong one on purpose; 500 and more."""
_BLOCK = re.compile(r"(<!-- fuzz: begin -->\n).*?(<!-- fuzz: end -->)", re.DOTALL)


def _counts() -> Counter[str]:
    return Counter()


@dataclass(slots=True)
class Tally:
    """Of one database."""

    database: str
    seed: int
    minutes: float = 0.0
    chains: int = 0
    operations: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    """By operation and class of answer."""
    statuses: Counter[str] = field(default_factory=_counts)
    links: Counter[str] = field(default_factory=_counts)
    checks: Counter[str] = field(default_factory=_counts)
    """How many answers each property was tried on."""
    failures: Counter[str] = field(default_factory=_counts)
    slowest: float = 0.0
    """Seconds."""
    memory: tuple[float, float] = (0.0, 0.0)
    """MiB of the process, before and after."""
    examples: dict[str, str] = field(default_factory=dict[str, str])
    """The first of each kind of failure, in full."""

    def answered(self, operation: str, status: int, *, keyed: bool = True) -> None:
        """Count an answer."""
        of_operation = self.operations.setdefault(operation, dict.fromkeys(CLASSES, 0))
        of_operation[class_of(status, keyed=keyed)] += 1
        self.statuses[str(status) if keyed else f"{status} without a key"] += 1

    def failed(self, operation: str, what: str, example: str) -> None:
        """Count something that must not be; the first of a kind is kept in full."""
        kind = f"{operation}: {what}"
        self.failures[kind] += 1
        self.examples.setdefault(kind, example)

    def of_class(self, name: str) -> int:
        return sum(counts[name] for counts in self.operations.values())

    @property
    def requests(self) -> int:
        return sum(sum(counts.values()) for counts in self.operations.values())


def class_of(status: int, *, keyed: bool) -> str:
    """The class that an answer is counted in."""
    if not keyed and status == 401:
        return "without a key"
    return "accepted" if status < 400 else "refused" if status < 500 else "failed"


def report(tallies: Iterable[Tally]) -> str:
    """All of it, failures in full."""
    parts: list[str] = []
    for tally in tallies:
        parts += [f"{tally.database}, seed {tally.seed}\n", tables([tally])]
        parts += [f"statuses {dict(sorted(tally.statuses.items()))}\n"]
        parts += [f"\nFAILED {count} times: {kind}\n" for kind, count in tally.failures.items()]
        parts += [f"{text[:3_000]}\n" for text in tally.examples.values()]
    return "".join(parts)


def tables(tallies: Iterable[Tally]) -> str:
    """The tables of the page."""
    played = list(tallies)
    return "\n".join([*_summary(played), "", *_properties(played), "", *_operations(played), ""])


def _row(*cells: object) -> str:
    return (
        f"| {' | '.join(f'{cell:,}' if isinstance(cell, int) else str(cell) for cell in cells)} |"
    )


def _head(*cells: str) -> list[str]:
    return [_row(*cells), "|---" * len(cells) + "|"]


def _summary(played: list[Tally]) -> list[str]:
    rows = [
        _row(
            tally.database,
            f"{tally.minutes:.1f}",
            tally.chains,
            tally.requests,
            *(tally.of_class(name) for name in CLASSES),
            sum(tally.links.values()),
            f"{tally.slowest:.1f}",
            f"{tally.memory[0]:.0f} → {tally.memory[1]:.0f}",
            sum(tally.failures.values()),
        )
        for tally in played
    ]
    heads = ("database", "minutes", "chains", "requests", *CLASSES, "by links")
    return [*_head(*heads, "slowest, s", "memory, MiB", "failures"), *rows]


def _properties(played: list[Tally]) -> list[str]:
    names = sorted({name for tally in played for name in tally.checks})
    tried = [_row(f"`{name}`", sum(tally.checks[name] for tally in played)) for name in names]
    return [*_head("property", "responses checked"), *tried]


def _operations(played: list[Tally]) -> list[str]:
    names = sorted({name for tally in played for name in tally.operations})
    none = dict.fromkeys(CLASSES, 0)
    rows = [
        _row(
            f"`{name}`",
            *(sum(tally.operations.get(name, none)[kind] for tally in played) for kind in CLASSES),
        )
        for name in names
    ]
    return [*_head("operation", *CLASSES), *rows]


def write(tallies: Iterable[Tally]) -> None:
    """Keep the figures, and put their tables into the page."""
    kept = list(tallies)
    FIGURES.write_text(json.dumps([_message(tally) for tally in kept], indent=1) + "\n")
    PAGE.write_text(_BLOCK.sub(lambda m: m[1] + tables(kept) + m[2], PAGE.read_text()))


def _message(tally: Tally) -> dict[str, Any]:
    return {each.name: getattr(tally, each.name) for each in fields(tally)}


def read() -> list[Tally]:
    """The figures that are kept."""
    said: list[dict[str, Any]] = json.loads(FIGURES.read_text())
    return [_tally(one) for one in said]


def _tally(said: dict[str, Any]) -> Tally:
    counters: dict[str, Any] = {
        name: Counter(said[name]) for name in ("statuses", "links", "checks", "failures")
    }
    counted: dict[str, Any] = {**said, **counters}
    counted["memory"] = tuple(said["memory"])
    return Tally(**counted)


def written() -> str:
    """What stands in the page."""
    found = _BLOCK.search(PAGE.read_text())
    return found[0].split("\n", 1)[1].removesuffix("<!-- fuzz: end -->") if found else ""
