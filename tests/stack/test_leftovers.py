"""A start ends what an earlier one left running, and no other process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from perdure.dev.identity import end_process, start_mark
from perdure.dev.record import ProcessRecord
from tests.stack.driver import Dev, eventually, is_alive

Sleeper = subprocess.Popen[bytes]


@pytest.fixture
def sleeper(processes: None) -> Generator[Sleeper]:
    """A process that is not ours to end."""
    process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    yield process
    process.kill()
    process.wait()


def entry(name: str, pid: int, mark: str | None) -> dict[str, object]:
    return {"name": name, "pid": pid, "mark": mark}


def test_a_leftover_is_ended_and_named(sleeper: Sleeper, tmp_path: Path) -> None:
    record = tmp_path / "processes.json"
    record.write_text(json.dumps([entry("api", sleeper.pid, start_mark(sleeper.pid))]))
    assert ProcessRecord(record).end_leftovers() == ["api"]
    assert not is_alive(sleeper.pid)
    assert json.loads(record.read_text()) == []


def test_a_process_that_got_the_pid_later_is_spared(sleeper: Sleeper, tmp_path: Path) -> None:
    mark = start_mark(sleeper.pid)
    assert mark
    boot, _, ticks = mark.partition(":")
    others = [f"{boot}:{int(ticks) - 1}", f"another-boot:{ticks}"]
    record = tmp_path / "processes.json"
    record.write_text(json.dumps([entry("api", sleeper.pid, other) for other in others]))
    assert ProcessRecord(record).end_leftovers() == []
    assert is_alive(sleeper.pid)


@pytest.mark.usefixtures("processes")
def test_a_pid_nobody_has_is_no_leftover() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    mark = start_mark(gone.pid) or "boot:1"
    gone.wait()
    assert start_mark(gone.pid) is None
    assert end_process(gone.pid, mark) is False


@pytest.mark.parametrize("text", ["", "{", "{}", '[{"name": "api"}]', '[{"pid": 1}]'])
def test_a_record_that_cannot_be_read_ends_nothing(tmp_path: Path, text: str) -> None:
    record = tmp_path / "processes.json"
    record.write_text(text)
    assert ProcessRecord(record).end_leftovers() == []


@pytest.mark.timeout(90)
def test_a_start_ends_its_leftovers_before_it_takes_its_port(dev: Dev, sleeper: Sleeper) -> None:
    first = dev.start_ready()
    recorded = (dev.state / "processes.json").read_text()
    first.terminate()
    assert first.wait(timeout=30) == 0
    ours = entry("api", sleeper.pid, start_mark(sleeper.pid))
    foreign = entry("workers", os.getpid(), "a-mark-of-another-time:1")
    (dev.state / "processes.json").write_text(json.dumps([*json.loads(recorded), ours, foreign]))
    dev.start_ready()
    eventually(lambda: not is_alive(sleeper.pid))
    assert sleeper.wait() == -signal.SIGKILL
    assert "api was left over from an earlier start: ended." in dev.errors
    assert "workers was left over" not in dev.errors
