"""A worker that was killed is spoken for by another one of the same machine, and only a dead one is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest

from perdure import AsyncPerdure, Service
from perdure.worker.liveness_lock import LivenessLock, lock_folder, peer_group
from tests.sdk.api_double import ApiDouble
from tests.sdk.worker.serving import FAST, serving

_PROCESS = """
import sys
from pathlib import Path
from perdure.worker.liveness_lock import LivenessLock
LivenessLock(Path(sys.argv[1]), sys.argv[2], "host-7-dead").hold()
print("holds", flush=True)
sys.stdin.read()
"""


def files(folder: Path) -> int:
    return len(list(folder.iterdir()))


@pytest.fixture
def peers(client: AsyncPerdure) -> str:
    return peer_group(client.transport.url, client.transport.key_digest)


@pytest.fixture
def neighbour(processes: None, tmp_path: Path, peers: str) -> Generator[subprocess.Popen[bytes]]:
    """Another worker's process."""
    started = subprocess.Popen(
        [sys.executable, "-c", _PROCESS, tmp_path, peers],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert started.stdout is not None
    assert started.stdout.readline() == b"holds\n"
    yield started
    started.kill()
    started.communicate()


@pytest.mark.parametrize("status", [204, 404, 503])
async def test_a_worker_says_which_other_one_was_killed(
    api: ApiDouble,
    client: AsyncPerdure,
    service: Service,
    tmp_path: Path,
    neighbour: subprocess.Popen[bytes],
    *,
    status: int,
) -> None:
    """Once where the server takes it, or has never heard of the machine; again where it could not be notified."""
    neighbour.kill()
    neighbour.wait()
    if status != 204:
        api.fault("POST .*/host-7-dead/lost", status)
    async with serving(client, service, settings=replace(FAST, lock_folder=tmp_path)):
        await api.until(lambda: files(tmp_path) == 1)
    said = api.requests("POST /clusters/c-test/machines/host-7-dead/lost")
    assert len(said) == (2 if status == 503 else 1)
    assert files(tmp_path) == 0, "a worker that ends as it should leaves nothing"


def test_who_lives_is_left_alone(
    tmp_path: Path, neighbour: subprocess.Popen[bytes], peers: str
) -> None:
    mine = LivenessLock(tmp_path, peers, "host-8-mine")
    mine.hold()
    mine.hold()
    with mine.orphans() as dead:
        assert dead == []
    neighbour.kill()
    neighbour.wait()
    with LivenessLock(
        tmp_path, peer_group("http://elsewhere", "digest"), "host-9"
    ).orphans() as dead:
        assert dead == [], "another API's, or another key's"
    with mine.orphans() as dead, LivenessLock(tmp_path, peers, "host-9").orphans() as others:
        assert [machine.id for machine in dead] == ["host-7-dead"]
        assert others == [], "one speaks for it at a time"
    mine.release()


def test_what_nobody_came_for_is_removed_after_a_week(
    tmp_path: Path, neighbour: subprocess.Popen[bytes]
) -> None:
    (left,) = tmp_path.iterdir()
    os.utime(left, (0, 0))
    lock = LivenessLock(tmp_path, "others", "host-9")
    lock.hold()
    assert left.exists(), "it lives"
    lock.release()
    neighbour.kill()
    neighbour.wait()
    lock.hold()
    assert not left.exists()
    lock.release()


def test_without_a_folder_nobody_is_dead(tmp_path: Path) -> None:
    for folder in (None, tmp_path / "missing"):
        lock = LivenessLock(folder, "peers", "host-1")
        lock.hold()
        with lock.orphans() as dead:
            assert dead == []
        lock.release()


def test_the_folder_is_this_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = lock_folder()
    assert folder is not None
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    assert lock_folder() is None, "somebody else could put files there"
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert lock_folder() is None
