"""The table of statuses: what it promises, and that its picture and its rows say the same."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from orchestrator.rules import lifecycle
from orchestrator.rules.lifecycle import (
    TRANSITIONS,
    InvalidTransitionError,
    Trigger,
    allows,
    is_final,
    next_status,
)
from perdure.contract import FINAL_STATUSES, RunStatus

statuses = st.sampled_from(RunStatus)
moves = st.lists(st.sampled_from(Trigger), max_size=40)


def _walk(start: RunStatus, events: list[Trigger]) -> list[RunStatus]:
    """The statuses a run goes through when what is impossible is refused."""
    path = [start]
    for event in events:
        if allows(path[-1], event):
            path.append(next_status(path[-1], event))
    return path


@given(events=moves)
def test_a_final_status_is_never_left(events: list[Trigger]) -> None:
    within_a_turn = [event for event in events if event is not Trigger.REVIVE]
    path = _walk(RunStatus.PENDING, within_a_turn)
    finals = [index for index, status in enumerate(path) if is_final(status)]
    assert finals in ([], [len(path) - 1])


@given(events=moves)
def test_a_revival_leads_from_done_or_failed_to_pending_and_nowhere_else(
    events: list[Trigger],
) -> None:
    path = _walk(RunStatus.PENDING, events)
    for before, status in pairwise(path):
        if is_final(before):
            assert before in {RunStatus.DONE, RunStatus.FAILED}
            assert status is RunStatus.PENDING


@given(events=moves)
def test_cancelled_is_final_for_good(events: list[Trigger]) -> None:
    assert _walk(RunStatus.CANCELLED, events) == [RunStatus.CANCELLED]


@given(events=moves)
def test_pending_is_left_for_running_by_the_first_model_step_alone(events: list[Trigger]) -> None:
    path = _walk(RunStatus.PENDING, events)
    for before, status in pairwise(path):
        if before is RunStatus.PENDING and not is_final(status):
            assert status is RunStatus.RUNNING
    assert [key for key, to in TRANSITIONS.items() if to is RunStatus.RUNNING] == [
        (RunStatus.PENDING, Trigger.BEGIN),
        (RunStatus.PAUSED, Trigger.RESUME),
    ]


@given(status=statuses, move=st.sampled_from(Trigger))
def test_a_move_is_either_in_the_table_or_refused_by_name(status: RunStatus, move: Trigger) -> None:
    if allows(status, move):
        assert next_status(status, move) is TRANSITIONS[status, move]
        return
    with pytest.raises(InvalidTransitionError, match=f"{status}.*{move}") as caught:
        next_status(status, move)
    assert (caught.value.status, caught.value.trigger) == (status, move)


def test_every_status_can_be_reached_and_every_move_is_of_use() -> None:
    reached = {RunStatus.PENDING}
    while more := {to for (status, _), to in TRANSITIONS.items() if status in reached} - reached:
        reached |= more
    assert reached == set(RunStatus)
    assert {move for _, move in TRANSITIONS} == set(Trigger)


def test_every_unfinished_status_can_fail_and_be_cancelled() -> None:
    for status in set(RunStatus) - FINAL_STATUSES:
        assert next_status(status, Trigger.FAIL) is RunStatus.FAILED
        assert next_status(status, Trigger.CANCEL) is RunStatus.CANCELLED


def test_the_picture_shows_each_row_of_the_table() -> None:
    rows = {(status.value, move.name, to.value) for (status, move), to in TRANSITIONS.items()}
    assert _picture() == rows


def _picture() -> set[tuple[str, str, str]]:
    """The diagram of the module's docstring, arrow by arrow."""
    assert lifecycle.__doc__ is not None
    lines = lifecycle.__doc__.splitlines()
    (top,) = (line for line in lines if "created" in line)
    drawn = {_arrow(top, RunStatus.PENDING, RunStatus.RUNNING)}
    drawn.add(_arrow(top, RunStatus.RUNNING, RunStatus.DONE))
    drawn |= _column(lines, top.index("running"), top.index("running") + len("running"))
    drawn |= _revivals(lines)
    for line in lines:
        if ends := re.search(r"(\w+) ◄─+[┤┘] (\w+), from (.*)$", line):
            target, move, sources = ends.groups()
            drawn |= {(source, move, target) for source in sources.split(", ")}
    return drawn


def _arrow(line: str, source: RunStatus, target: RunStatus) -> tuple[str, str, str]:
    found = re.search(rf"{source} ─+(\w+)─+► {target}", line)
    assert found is not None
    return source.value, found[1], target.value


def _column(lines: list[str], left: int, right: int) -> set[tuple[str, str, str]]:
    """Under `running`: the arrow down to `paused` with its word, and the one back up."""
    (words,) = (line for line in lines if "PAUSE " in line)
    pause, resume = re.findall(r"[A-Z]+", words)
    around = range(left - len("RESUME"), right + len("RESUME"))
    marks = {mark for line in lines for at, mark in enumerate(line) if at in around}
    assert {"▲", "▼"} <= marks
    return {("running", pause, "paused"), ("paused", resume, "running")}


def _revivals(lines: list[str]) -> set[tuple[str, str, str]]:
    """The arrow at the bottom: from the column of the final statuses back up to `pending`."""
    (line,) = (line for line in lines if "REVIVE" in line and "──" in line)
    found = re.search(r"└─+([A-Z]+) .*─ (\w+) ◄─┤", line)
    assert found is not None
    (top,) = (line for line in lines if "created" in line)
    assert top.rstrip().endswith("done ─────┐"), "the same column leads from done down to here"
    return {("done", found[1], "pending"), (found[2], found[1], "pending")}
