"""How a scenario ended, as a row of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from typing_extensions import override

from perdure.contract import RunStatus
from tests.faults.evidence import Evidence
from tests.faults.invariants import Violation, check


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a scenario showed. `back` is seconds from a process's return to the next progress, the worst of all kills."""

    scenario: str
    runs: int
    right: int
    lost: int
    duplicated: int
    back: float | None
    violations: tuple[Violation, ...]
    note: str = ""

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
        lines = [f"{self.scenario}: {self.right} of {self.runs} right, {self.verdict} {self.note}"]
        lines += [f"  [{one.rule}] {one.run}: {one.words}" for one in self.violations]
        return "\n".join(lines)


def judge(
    scenario: str,
    evidence: Evidence,
    *,
    back: float | None = None,
    note: str = "",
    ends: Mapping[str, RunStatus] | None = None,
    only: Iterable[str] | None = None,
    more: Iterable[Violation] = (),
) -> Outcome:
    """The outcome, by the checker. A run is right that nothing is wrong with and that is done, or where `ends` wants it.

    `only` these runs are looked at, of evidence that several scenarios share. `more` is what the scenario itself found.
    """
    wanted = set(only) if only is not None else set(evidence.acknowledged)
    violations = [one for one in check(evidence) if only is None or one.run in wanted]
    violations += more
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
        lost=sum(one.rule == "kept" for one in violations),
        duplicated=sum(times > 1 for times in begun.values()),
        back=back,
        violations=tuple(violations),
        note=note,
    )


def table(outcomes: Iterable[Outcome]) -> str:
    """The outcomes as Markdown."""
    head = "| scenario | runs | right | lost | duplicated | seconds back | verdict |"
    rows = [
        f"| {one.scenario} | {one.runs} | {one.right} | {one.lost} | {one.duplicated} |"
        f" {'–' if one.back is None else f'{one.back:.1f}'} | {one.verdict}{_said(one)} |"
        for one in outcomes
    ]
    return "\n".join([head, "|---|---|---|---|---|---|---|", *rows])


def _said(outcome: Outcome) -> str:
    return f" ({outcome.note})" if outcome.note else ""
