"""`make demo`, as a newcomer runs it: a process of its own, everything real, nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples.growth import who_grew_most

REPOSITORY = Path(__file__).parents[2]
pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("processes")]


def start_demo(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    prefixes = ("PERDURE_", "ANTHROPIC_", "TEMPORAL_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(prefixes)}
    environment |= {
        "SALES_DATABASE": str(folder / "sales.db"),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONUNBUFFERED": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "examples.demo", "--state-dir", str(folder / "state"), *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def processes_of(folder: Path) -> list[str]:
    """Command lines of live processes that name the folder: the stack's parts have it in theirs."""
    lines: list[str] = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it ended meanwhile
            continue
        if str(folder) in words and "pytest" not in words:
            lines.append(words)
    return lines


@pytest.mark.parametrize("seed", ["2", "3"])
def test_the_demo_shows_a_whole_run_and_its_answer_follows_the_data(
    tmp_path: Path, seed: str
) -> None:
    demo = start_demo(tmp_path, "--seed", seed)
    said, errors = demo.communicate(timeout=100)
    assert (demo.returncode, errors) == (0, "")
    answered = re.search(r"^  customer +(.+)$", said, re.MULTILINE)
    assert answered
    assert answered[1] == who_grew_most(tmp_path / "sales.db")
    assert "scripted/analyst, a script and no language model" in said
    assert said.count("function SELECT") == 4
    assert "status   running -> done" in said
    assert "handler  notified: pending -> running" in said
    assert "handler  notified: running -> done" in said
    assert processes_of(tmp_path) == []


def test_the_two_seeds_have_different_answers(tmp_path: Path) -> None:
    from examples.sales.make_data import make_data  # noqa: PLC0415

    names: set[str] = set()
    for seed in (2, 3):
        make_data(tmp_path / "sales.db", seed=seed)
        names.add(who_grew_most(tmp_path / "sales.db"))
    assert len(names) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_stopped_stops_everything(tmp_path: Path, number: signal.Signals) -> None:
    demo = start_demo(tmp_path)
    assert demo.stdout
    while not demo.stdout.readline().startswith("Functions"):
        assert demo.poll() is None
    demo.send_signal(number)
    _, errors = demo.communicate(timeout=60)
    assert (demo.returncode, errors) == (130, "Stopped.\n")
    assert processes_of(tmp_path) == []


def test_a_stack_that_cannot_start_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    demo = start_demo(tmp_path)
    _, errors = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert errors.count("\n") == 1
    assert errors.startswith("The stack did not start: ")
    assert "cannot be written" in errors
