"""How a scenario ended, as a row of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from typing_extensions import override

from perdure.contract import RunStatus
from tests.faults.checker.evidence import Evidence
from tests.faults.checker.invariants import Violation, check
from tests.faults.checker.pauses import all_back, long_pauses, longest_pause


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a scenario showed.

    `back` is seconds from a process's return to the next progress of any run, `all_back` until every run that was at
    work then had moved on, each the worst of all kills. `pause` is the longest time in which nothing happened to a run
    that was at work. `duration` is seconds of the whole scenario.
    """

    scenario: str
    runs: int
    right: int
    lost: int
    duplicated: int
    back: float | None
    violations: tuple[Violation, ...]
    add: str = ""
    all_back: float | None = None
    pause: float | None = None
    duration: float = 0.0

    @property
    def is_right(self) -> bool:
        return self.right == self.runs and not self.violations

    @property
    def verdict(self) -> str:
        if self.is_right:
            return "holds"
        rules = Counter(violation.rule for violation in self.violations)
        return "BROKEN: " + (", ".join(rules) or "not all runs ended as they should")

    @override
    def __str__(self) -> str:
        felt = f"back {_seconds(self.back)}, all back {_seconds(self.all_back)}, pause {_seconds(self.pause)}"
        head = f"{self.scenario}: {self.right} of {self.runs} right, {self.verdict}; {felt}"
        lines = [f"{head}; took {self.duration:.0f} s; {self.add}"]
        lines += [f"  [{one.rule}] {one.run}: {one.text}" for one in self.violations]
        return "\n".join(lines)


def judge(
    scenario: str,
    evidence: Evidence,
    *,
    back: float | None = None,
    back_within: float | None = None,
    note: str = "",
    ends: Mapping[str, RunStatus] | None = None,
    only: Iterable[str] | None = None,
    more: Iterable[Violation] = (),
) -> Outcome:
    """The outcome, by the checker. A run is right that nothing is wrong with and that is done, or where `ends` wants it.

    `only` these runs are looked at, of evidence that several scenarios share. `more` is what the scenario itself found.
    It must be `back_within` so many seconds, where that is given.
    """
    wanted = set(only) if only is not None else set(evidence.acknowledged)
    violations = [one for one in check(evidence) if only is None or one.run in wanted]
    violations += more
    if back is not None and back_within is not None and back > back_within:
        violations.append(Violation("back", "", f"{back:.1f} s after its return nothing had moved"))
    wrong = {one.run for one in violations}
    status = {row["run"]: row["status"] for row in evidence.runs}
    expected = {run: (ends or {}).get(run, RunStatus.DONE).value for run in wanted}
    begun = Counter(
        line["call"] for line in evidence.diary if line["kind"] == "begun" and line["run"] in wanted
    )
    return Outcome(
        scenario=scenario,
        runs=len(wanted),
        right=sum(status.get(run) == expected[run] and run not in wrong for run in wanted),
        lost=sum(one.rule == "nothing_lost" for one in violations),
        duplicated=sum(times > 1 for times in begun.values()),
        back=back,
        violations=tuple(violations),
        add="; ".join(filter(None, [note, long_pauses(evidence) if only is None else ""])),
        all_back=all_back(evidence),
        pause=longest_pause(evidence) if only is None else None,
    )


def table(outcomes: Iterable[Outcome]) -> str:
    """The outcomes as Markdown."""
    columns = (
        "fault",
        "right",
        "lost",
        "run twice",
        "back, s",
        "all back, s",
        "longest pause, s",
        "took, s",
        "verdict",
    )
    return "\n".join([_line(columns), _line("---" for _ in columns), *map(_row, outcomes)])


def _row(one: Outcome) -> str:
    said = f" ({one.add})" if one.add else ""
    cells = (
        one.scenario,
        f"{one.right} of {one.runs}",
        str(one.lost),
        str(one.duplicated),
        _seconds(one.back),
        _seconds(one.all_back),
        _seconds(one.pause),
        f"{one.duration:.0f}",
        f"{one.verdict}{said}",
    )
    return _line(cell.replace("|", "/") for cell in cells)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
