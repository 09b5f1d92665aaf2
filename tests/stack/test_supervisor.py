"""The supervisor alone, with one-line children."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from perdure.dev.child import Child, describe_end
from perdure.dev.record import ProcessRecord
from perdure.dev.state import MAX_LOG_BYTES, StateFolder
from perdure.dev.supervisor import Supervisor
from tests.stack.driver import clean_environment, is_alive
from tests.stack.waiting import until


class Stage:
    """A supervisor with short delays, and what it said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = StateFolder.create(folder / "state")
        self.lines: list[str] = []
        self.supervisor = Supervisor(
            self.state,
            ProcessRecord(self.state.process_record),
            self.lines.append,
            first_delay=0.02,
            longest_delay=0.1,
        )

    def supervise(self, name: str, code: str, *, grace: float = 5.0) -> None:
        self.supervisor.supervise(
            Child(
                name=name,
                argv=(sys.executable, "-u", "-c", code),
                environment=clean_environment(),
                grace=grace,
            )
        )

    def log(self, name: str) -> str:
        return self.state.log_file(name).read_text() if self.state.log_file(name).exists() else ""

    async def pid_of(self, name: str) -> int:
        """The pid of a child that said it is up."""
        await until(lambda: "up" in self.log(name))
        pid = self.supervisor.pid(name)
        assert pid
        return pid


@pytest.fixture
async def stage(processes: None, tmp_path: Path) -> AsyncGenerator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.supervisor.kill()
    await stage.supervisor.stop()


WAITS = "import signal; print('up'); signal.pause()"
STUBBORN = (
    "import signal; signal.signal(15, signal.SIG_IGN); print('up'); signal.pause(); signal.pause()"
)


async def test_a_child_that_keeps_dying_is_started_again_and_each_death_is_logged(
    stage: Stage,
) -> None:
    stage.supervise("moth", "raise SystemExit(3)")
    await until(lambda: stage.supervisor.crashes.get("moth", 0) >= 4)
    assert len(stage.lines) >= 4
    assert all("moth exited with code 3" in line for line in stage.lines)
    assert all(str(stage.state.log_file("moth")) in line for line in stage.lines)


async def test_children_stop_in_the_reverse_order_of_their_start(stage: Stage) -> None:
    order = stage.folder / "order"
    for name in ("first", "second", "third"):
        stage.supervise(
            name,
            "import signal, sys\n"
            f"def stop(*_):\n    open({str(order)!r}, 'a').write('{name} '); sys.exit()\n"
            "signal.signal(15, stop); print('up'); signal.pause()",
        )
        await stage.pid_of(name)
    await stage.supervisor.stop()
    assert order.read_text().split() == ["third", "second", "first"]
    assert stage.lines == []


async def test_a_child_that_does_not_stop_is_killed_after_its_grace(stage: Stage) -> None:
    stage.supervise("mule", STUBBORN, grace=0.3)
    pid = await stage.pid_of("mule")
    began = time.monotonic()
    await stage.supervisor.stop()
    assert time.monotonic() - began >= 0.3
    assert not is_alive(pid)
    assert stage.lines == ["mule does not stop: killed."]


async def test_what_a_dead_child_left_behind_is_ended_too(stage: Stage) -> None:
    stage.supervise(
        "parent",
        "import subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\n"
        "print('up', p.pid); p.wait()",
    )
    pid = await stage.pid_of("parent")
    grandchild = int(stage.log("parent").split()[1])
    assert is_alive(grandchild)
    os.kill(pid, 9)
    await until(lambda: not is_alive(grandchild))


async def test_an_executable_that_is_missing_reads_so_in_the_log(stage: Stage) -> None:
    stage.supervisor.supervise(
        Child(name="ghost", argv=("/no/such/thing",), environment=clean_environment())
    )
    await until(lambda: stage.supervisor.crashes.get("ghost"))
    assert "exited with code 127" in stage.lines[0]
    assert "/no/such/thing cannot be started: No such file or directory." in stage.log("ghost")


async def test_nothing_is_started_again_after_a_stop(stage: Stage) -> None:
    stage.supervise("moth", "raise SystemExit(3)")
    await until(lambda: stage.supervisor.crashes.get("moth"))
    await stage.supervisor.stop()
    assert stage.supervisor.pid("moth") is None
    assert "moth" not in {task.get_name() for task in asyncio.all_tasks()}


async def test_running_children_are_recorded_and_ended_ones_are_not(stage: Stage) -> None:
    stage.supervise("one", WAITS)
    pid = await stage.pid_of("one")
    assert f'"pid": {pid}' in stage.state.process_record.read_text()
    await stage.supervisor.stop()
    assert stage.state.process_record.read_text().strip() == "[]"


async def test_a_log_that_grew_too_long_is_put_aside_at_the_next_start(stage: Stage) -> None:
    stage.state.log_file("one").write_bytes(b"x" * (MAX_LOG_BYTES + 1))
    stage.supervise("one", WAITS)
    await stage.pid_of("one")
    assert stage.log("one") == "up\n"
    assert stage.state.log_file("one").with_suffix(".log.1").stat().st_size == MAX_LOG_BYTES + 1


@pytest.mark.parametrize(
    ("returncode", "reads"),
    [
        (0, "exited with code 0"),
        (2, "exited with code 2"),
        (-9, "was ended by SIGKILL (signal 9)"),
        (-99, "was ended by a signal (signal 99)"),
    ],
)
def test_an_end_reads_well(returncode: int, reads: str) -> None:
    assert describe_end(returncode) == reads
