"""A second process, a run's row, and a look into SQLite's log: what the tests of the store's floor need."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import settings
from sqlalchemy import insert

from orchestrator.store.database.engine import Database, open_database
from orchestrator.store.store import Store
from orchestrator.store.tables import clusters, runs
from tests.support.stage import Stage

_ROOT = Path(__file__).parents[3]

settings.register_profile("walks", print_blob=True)
"""Of `make walks`: other walks each time, many more and longer ones."""


_DIALECTS = ("sqlite", "postgresql")


@pytest.hookimpl(tryfirst=True)  # before pytest reads the marks
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test of an open database on both databases, and once more with `plain_sql` on one of them.

    A test's name decides which one, so that each database gets half of them, in every session the same half.
    """
    if not {"database", "database_url"} <= set(metafunc.fixturenames):
        return
    if any(
        "database_url" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")
    ):
        return  # a test of one database's own way
    half = crc32(metafunc.definition.nodeid.encode()) % 2
    ways = [*((each, False) for each in _DIALECTS), (_DIALECTS[half], True)]
    names = [f"{dialect}-plain" if plain else dialect for dialect, plain in ways]
    metafunc.definition.add_marker(
        pytest.mark.parametrize(
            ("database_url", "plain_sql"), ways, indirect=["database_url"], ids=names
        )
    )


class Peer:
    """A process that uses the same database; see `store_process.py`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def send_line(self, line: str = "go") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        await self.process.stdin.drain()

    async def expect(self, word: str) -> None:
        """Wait until it says so; its errors are in the test's output."""
        assert self.process.stdout is not None
        line = (await self.process.stdout.readline()).decode().strip()
        assert line == word

    async def leaves(self) -> int:
        """End its input and wait for its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return await self.process.wait()

    async def dies(self) -> None:
        self.process.kill()
        await self.process.wait()


@pytest.fixture
async def peer(processes: None) -> AsyncGenerator[Callable[..., Awaitable[Peer]]]:
    """Start processes: `await peer("echo", url)`. They are ready when this returns."""
    started: list[Peer] = []

    async def start(*arguments: str) -> Peer:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("store_process.py")),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": f"{_ROOT}:{_ROOT / 'sdk/src'}"},
        )
        other = Peer(process)
        started.append(other)
        await other.expect("ready")
        return other

    yield start
    for other in started:
        if other.process.returncode is None:
            await other.dies()


@pytest.fixture
def make_runs() -> Callable[[Database, int], Awaitable[None]]:
    """Write the rows of runs 1 to n, at version 1."""

    async def make(database: Database, count: int) -> None:
        async with database.write() as write:
            await write.execute(insert(clusters).values(id="c", name="c", created_at=0))
            await write.execute(insert(runs), [run_row(key) for key in range(1, count + 1)])

    return make


@pytest.fixture
async def another_database(database_url: str, plain_sql: bool) -> AsyncGenerator[Database]:
    """The database of `database_url`, open a second time, as another process would have it."""
    opened = await open_database(database_url, checkpoint=False, plain_sql=plain_sql)
    yield opened
    await opened.aclose()


def run_row(key: int) -> dict[str, object]:
    return {
        "key": key,
        "cluster_id": "c",
        "id": f"run-{key}",
        "name": "a run",
        "model": "scripted/inline",
        "request_hash": "0",
        "status": "pending",
        "version": 1,
        "created_at": 0,
        "updated_at": 0,
    }


@pytest.fixture
def elsewhere(stage: Stage, another_database: Database) -> Stage:
    """The same stage as another process has it."""
    return Stage(Store(another_database), stage.cluster_id)
