"""File locks: who holds one, and what a process that was killed leaves."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.runtime.file_lock import FileLock, LockedFile, claim

_PROCESS = """
import sys
from pathlib import Path
from orchestrator.runtime.file_lock import LockedFile
file = LockedFile.create(Path(sys.argv[1]), "other")
print("created", flush=True)
sys.stdin.read()
"""


def test_one_of_two_holds_a_lock(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "a.lock"), FileLock(tmp_path / "a.lock")
    assert first.try_acquire()
    assert first.try_acquire(), "it holds it already"
    assert not second.try_acquire()
    assert (first.held, second.held) == (True, False)
    first.release()
    first.release()
    assert second.try_acquire()
    assert (tmp_path / "a.lock").exists(), "so that all processes lock the same file"
    second.release()


async def test_the_next_one_waits_for_the_lock(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "a.lock"), FileLock(tmp_path / "a.lock")

    async def wait() -> None:
        async with second.hold():
            assert not first.held

    async with first.hold():
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 5)
    assert not second.held


def test_a_locked_file_cannot_be_claimed_until_it_is_removed(tmp_path: Path) -> None:
    file = LockedFile.create(tmp_path, "mine", ".tasks")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.tasks"]
    with claim(file.path) as claimed:
        assert claimed is None
    file.remove()
    with pytest.raises(FileNotFoundError), claim(file.path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("processes")
def test_the_file_of_a_killed_process_is_claimed_by_one(tmp_path: Path) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", _PROCESS, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"created\n"
    path = tmp_path / "other"
    with claim(path) as claimed:
        assert claimed is None, "it is alive"
    path.write_bytes(b"in progress")
    other.kill()
    other.communicate()
    with claim(path) as first, claim(path) as second:
        assert first is not None
        assert os.read(first, 100) == b"in progress"
        assert second is None
    with claim(path) as again:
        assert again is not None


def test_a_file_that_cannot_be_named_is_not_left_behind(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(OSError, match="directory"):
        LockedFile.create(tmp_path, "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
