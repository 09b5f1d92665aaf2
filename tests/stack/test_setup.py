"""What `make setup` says where it cannot work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[2] / ".ci" / "setup"


class Machine:
    """A path on which only the given Pythons are found."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()

    def install(self, name: str, script: str) -> None:
        file = self.bin / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def set_up(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", str(SETUP), "venv"],
            cwd=self.folder,
            env={"PATH": str(self.bin), **environment},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


@pytest.fixture
def machine(processes: None, tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def assert_refused(done: subprocess.CompletedProcess[str], *said: str) -> None:
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    for part in said:
        assert part in line
    assert "make setup PYTHON=" in line or "PYTHON=" in line


def test_without_any_python_it_says_which_are_needed(machine: Machine) -> None:
    assert_refused(machine.set_up(), "Python 3.11, 3.12 or 3.13 is needed", "no Python was found")


def test_an_older_python_is_named(machine: Machine) -> None:
    machine.install(
        "python3", 'case "$2" in *platform*) echo "only Python 3.9.2";; *) exit 1;; esac'
    )
    assert_refused(machine.set_up(), "only Python 3.9.2 was found")


def test_a_python_without_venv_gets_its_cure(machine: Machine) -> None:
    machine.install("python3", 'case "$2" in *version_info*) exit 0;; *) exit 1;; esac')
    assert_refused(machine.set_up(), "python3 cannot make virtual environments", "python3-venv")


def test_a_chosen_python_that_does_not_fit_is_refused(machine: Machine) -> None:
    machine.install("old", "exit 1")
    done = machine.set_up(PYTHON="old")
    assert_refused(done, "PYTHON=old is no Python 3.11, 3.12 or 3.13")


def test_a_python_that_fits_is_used_before_an_older_one(machine: Machine) -> None:
    machine.install("python3.13", "exit 127")  # a shim of a version manager, without the version
    machine.install(
        "python3.12", f'echo "$0 $@" >> "{machine.folder}/asked"; exec "{sys.executable}" "$@"'
    )
    done = machine.set_up(PATH=f"{machine.bin}{os.pathsep}/bin{os.pathsep}/usr/bin")
    assert done.returncode != 0  # there is nothing to install in this folder
    assert "Setting up venv with Python 3." in done.stdout
    assert "-m venv venv" in (machine.folder / "asked").read_text()
