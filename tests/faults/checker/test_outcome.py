"""What is said of a scenario: how long runs stood still, and the table."""

from __future__ import annotations

from tests.faults.checker.evidence import Evidence
from tests.faults.checker.outcome import Outcome, judge, table
from tests.faults.checker.page import BEGIN, END, rewritten
from tests.faults.checker.pauses import all_back, long_pauses, longest_pause


def _evidence(*events: tuple[int, str], returns: list[int]) -> Evidence:
    """A run of which this is known, and times at which something was back."""
    rows = [
        {"run": "one", "created_at": at, "type": "run.status", "status": status}
        if status
        else {"run": "one", "created_at": at, "type": "step.recorded"}
        for at, status in events
    ]
    return Evidence({"one": "first"}, events=rows, returns=returns)


def test_a_pause_is_counted_while_a_run_is_at_work_only() -> None:
    events = [(0, "running"), (1_500, ""), (2_000, "paused"), (9_000, "running"), (10_000, "done")]
    assert longest_pause(_evidence(*events, returns=[])) == 1.5


def test_long_pauses_say_what_they_were_between() -> None:
    events = [(0, "running"), (7_000, ""), (8_000, ""), (15_000, "done")]
    said = long_pauses(_evidence(*events, returns=[]))
    assert said == (
        "1 x over 6 s at run.status → step.recorded, 1 x over 6 s at step.recorded → run.status"
    )


def test_all_are_back_when_the_last_run_has_moved_on() -> None:
    evidence = _evidence(
        (0, "running"), (4_000, ""), (5_000, "done"), returns=[1_000, 4_500, 7_000]
    )
    assert all_back(evidence) == 3.0


def test_without_a_return_nobody_was_away() -> None:
    assert all_back(_evidence((0, "running"), (4_000, "done"), returns=[])) is None


def test_who_is_back_too_late_breaks_the_promise() -> None:
    nothing = Evidence({})
    assert judge("kill", nothing, back=2.9, back_within=3.0).is_right
    late = judge("kill", nothing, back=3.1, back_within=3.0)
    assert not late.is_right
    assert late.verdict == "BROKEN: back"


def test_a_row_of_the_table_says_everything_in_as_many_cells_as_its_head() -> None:
    outcome = Outcome("kill", 40, 40, 0, 2, 1.26, (), "4 kills | in all", 2.0, None, 61.4)
    head, rule, row = table([outcome]).splitlines()
    assert row == "| kill | 40 of 40 | 0 | 2 | 1.3 | 2.0 | – | 61 | holds (4 kills / in all) |"
    assert head.count("|") == rule.count("|") == row.count("|")


def test_a_page_keeps_its_rows_but_for_those_that_were_played_again() -> None:
    first = [Outcome(name, 1, 1, 0, 0, None, ()) for name in ("kill", "freeze")]
    page = rewritten(f"# Faults\n{BEGIN}\n{END}\nmore", first)
    again = rewritten(
        page, [Outcome("kill", 2, 2, 0, 0, None, ()), Outcome("cut", 1, 1, 0, 0, None, ())]
    )
    assert [row.split(" | ")[:2] for row in again.splitlines()[4:-2]] == [
        ["| kill", "2 of 2"],
        ["| freeze", "1 of 1"],
        ["| cut", "1 of 1"],
    ]
    assert again.startswith("# Faults\n")
    assert again.endswith("\nmore")
