"""What can be known of the peers without any of them installed."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from benchmarks.peers import PEERS, Peer, PeerError, RunningPeer
from benchmarks.peers.environment import FOLDER

_PINNED = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+")
_OURS = {"perdure", "orchestrator", "api", "workers", "benchmarks", "tests"}
_ENVIRONMENT = {"PYTHONPATH": str(FOLDER / "kit")}
_FOLDERS = sorted({peer.folder for peer in PEERS})

# A peer that does the job by itself, but for 7 iterations, which it gets wrong, and 8, of which it never tells.
_SCRIPT = """
import asyncio
from contextlib import asynccontextmanager
from peerkit.job import expected
from peerkit.orders import main

print("chatter that libraries write")

async def run_once(steps):
    if steps == 8:
        await asyncio.Event().wait()
    return expected(steps + (steps == 7))

@asynccontextmanager
async def peer(where):
    yield run_once

main(peer)
"""


@pytest.fixture
def command(processes: None, tmp_path: Path) -> tuple[str, ...]:
    """How the peer above is started, as any other, with this Python."""
    script = tmp_path / "main.py"
    script.write_text(_SCRIPT)
    return (sys.executable, str(script), "", "", str(tmp_path), "")


@pytest.fixture
def running(command: tuple[str, ...], tmp_path: Path) -> Generator[RunningPeer]:
    with RunningPeer(command, _ENVIRONMENT, tmp_path / "log") as peer:
        yield peer


def test_a_peer_answers_with_the_seconds_it_took(running: RunningPeer) -> None:
    assert 0 < running.measure(steps=3, runs=5, concurrent=2) < 10


def test_a_wrong_result_is_an_error_and_the_peer_goes_on(running: RunningPeer) -> None:
    with pytest.raises(PeerError, match="2 of 2 runs ended wrong: '8 results, sum 204'"):
        running.measure(steps=7, runs=2)
    assert running.measure(steps=1) > 0


def test_a_peer_ends_with_its_input_even_in_the_middle_of_a_run(command: tuple[str, ...]) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=_ENVIRONMENT, stdin=pipe, stdout=pipe) as process:
        said, _ = process.communicate(b'{"runs": 1, "steps": 8}\n', timeout=20)
    assert json.loads(said) == {"ready": True}
    assert process.returncode == 0


@pytest.mark.usefixtures("processes")
def test_a_peer_that_does_not_start_says_why(tmp_path: Path) -> None:
    script = tmp_path / "main.py"
    script.write_text("raise SystemExit('no such product')")
    with pytest.raises(PeerError, match="does not start: no such product"):
        RunningPeer((sys.executable, script), {}, tmp_path / "log")


@pytest.mark.parametrize("folder", _FOLDERS)
def test_packages_are_pinned_exactly_and_name_no_place(folder: str) -> None:
    lines = (FOLDER / folder / "requirements.txt").read_text().splitlines()
    assert lines
    assert [line for line in lines if not _PINNED.fullmatch(line)] == []


def test_packages_from_npm_are_pinned_exactly() -> None:
    manifests = [json.loads(path.read_text()) for path in FOLDER.glob("*/package.json")]
    versions = [pin for manifest in manifests for pin in manifest["dependencies"].values()]
    assert versions
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions)


@pytest.mark.parametrize("folder", [*_FOLDERS, "kit/peerkit"])
def test_scripts_of_peers_import_nothing_of_ours(folder: str) -> None:
    scripts = list((FOLDER / folder).glob("*.py"))
    assert scripts
    assert set().union(*map(_imported, scripts)) & _OURS == set()


def _imported(script: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_each_says_how_durable_it_is(peer: Peer) -> None:
    assert "each model step" in peer.durability or "per model step" in peer.durability
    assert (FOLDER / peer.folder / "main.py").is_file()
