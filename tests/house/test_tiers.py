"""Tiers are derived, and a test cannot do more than its tier allows: each is shown by a pytest of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("processes")
REPOSITORY = Path(__file__).parents[2]

TIERS = """
import pytest

@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request): return request.param
@pytest.fixture
def database(database_url): return database_url
@pytest.fixture
def services(): pass
@pytest.fixture
def temporal_address(): pass

def test_pure(): pass
def test_on_both(database): pass
def test_api(services): pass
def test_temporal(temporal_address, services): pass
def test_process(processes, temporal_address): pass
"""
FORBIDDEN = """
import asyncio, os, subprocess, sys
import pytest
from temporalio.client import Client
from contextlib import suppress

@pytest.fixture
def starting():
    subprocess.run(["true"])

def test_run(): subprocess.run(["true"])
def test_swallowed():
    with suppress(BaseException):
        subprocess.run(["true"])
def test_system(): os.system("true")
def test_fork():
    if os.fork() == 0:
        os._exit(0)
def test_posix_spawn(): os.posix_spawn("/bin/true", ["true"], {})
def test_by_asyncio(): asyncio.run(asyncio.create_subprocess_exec("true"))
def test_by_a_fixture(starting): pass
def test_temporal(): asyncio.run(Client.connect("127.0.0.1:2"))
def test_temporal_when_first_used():
    async def use():
        client = await Client.connect("127.0.0.1:2", lazy=True)
        with suppress(BaseException):
            await client.count_workflows()
    asyncio.run(use())
"""
ALLOWED = """
import asyncio, subprocess
import pytest
from temporalio.client import Client

def test_a_process(processes): subprocess.run(["true"], check=True)
def test_where_nobody_is():
    with pytest.raises(RuntimeError):
        asyncio.run(Client.connect("127.0.0.1:1"))
def test_after_a_process_none_is_allowed():
    with pytest.raises(AssertionError):
        subprocess.run(["true"])
"""

SHARED_ID = """
import pytest

class Again(pytest.Item):
    def runtest(self): pass

class Twice(pytest.File):
    def collect(self):
        yield Again.from_parent(self, name="it")
        yield Again.from_parent(self, name="it")

def pytest_collect_file(file_path, parent):
    return Twice.from_parent(parent, path=file_path) if file_path.suffix == ".ini" else None
"""


def run(folder: Path, tests: str, *arguments: str) -> str:
    """What pytest says of these tests, with the plugin and nothing else of this repository's settings."""
    (folder / "test_it.py").write_text(tests)
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    ended = subprocess.run(
        [*(sys.executable, "-m", "pytest"), "-p", "tests.support.tiers", "-v", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'sdk/src'}"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert not ended.stderr, ended.stderr
    return ended.stdout


def outcomes(said: str, outcome: str) -> set[str]:
    """The tests that ended so."""
    lines = (line.split() for line in said.splitlines() if line.startswith("test_it.py::"))
    return {words[0].partition("::")[2] for words in lines if words[1] == outcome}


@pytest.mark.parametrize("workers", [(), ("-n", "2", "--dist", "loadfile")], ids=["one", "two"])
def test_each_tier_says_what_it_took(tmp_path: Path, workers: tuple[str, ...]) -> None:
    said = run(tmp_path, TIERS, *workers)
    (line,) = (line for line in said.splitlines() if line.startswith("Tiers: "))
    counts = [part.split()[:2] for part in line.removeprefix("Tiers: ").split(", ")]
    assert counts == [
        ["pure", "1"],
        ["sqlite", "1"],
        ["asgi", "1"],
        ["postgres", "1"],
        ["temporal", "1"],
        ["process", "1"],
    ]


@pytest.mark.parametrize("workers", [(), ("-n", "2", "--dist", "loadfile")], ids=["one", "two"])
def test_the_quick_set_says_what_it_left_out(tmp_path: Path, workers: tuple[str, ...]) -> None:
    said = run(tmp_path, TIERS, "--quick", *workers)
    assert "Left out: 1 postgres, 1 temporal, 1 process; `make test` runs them too." in said
    assert " 3 passed" in said


def test_a_test_without_the_fixture_starts_no_process_and_reaches_no_temporal(
    tmp_path: Path,
) -> None:
    said = run(tmp_path, FORBIDDEN)
    refused = {line.partition("def ")[2].partition("(")[0] for line in FORBIDDEN.splitlines()}
    every = {name for name in refused if name.startswith("test_")}
    assert outcomes(said, "FAILED") == every - {"test_by_a_fixture"}
    assert outcomes(said, "ERROR") == {"test_by_a_fixture"}
    reasons = re.findall(r"^E +tests\.support\.guard\.RefusedError: ", said, re.MULTILINE)
    assert len(reasons) == len(every)


def test_what_a_fixture_allows_and_what_reaches_nobody_passes(tmp_path: Path) -> None:
    said = run(tmp_path, ALLOWED)
    assert outcomes(said, "PASSED") == {"test_a_process", "test_where_nobody_is"}
    assert outcomes(said, "FAILED") == {"test_after_a_process_none_is_allowed"}


def test_tests_that_share_a_node_id_are_refused(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(SHARED_ID)
    with pytest.raises(AssertionError, match=r"1 node ids .* tests: pytest\.ini::it"):
        run(tmp_path, "")
