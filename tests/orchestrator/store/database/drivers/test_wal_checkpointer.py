"""SQLite's log: one process moves it into the database, and another takes over when that one dies."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.runtime.file_lock import FileLock
from orchestrator.store.database.drivers.sqlite_connection import connect, use_wal
from orchestrator.store.database.drivers.wal_checkpointer import (
    CHECKPOINT_BYTES,
    TRUNCATE_BYTES,
    Checkpointer,
    checkpoint,
)
from orchestrator.store.database.engine import open_database

StartPeer = Callable[..., Awaitable[Any]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "perdure.db"
    use_wal(file)
    with_table = connect(file)
    with_table.execute("CREATE TABLE t (content)")
    with_table.close()
    return file


def _wal_bytes(path: Path) -> int:
    return Path(f"{path}-wal").stat().st_size


def _write(raw: sqlite3.Connection, count: int) -> None:
    for _ in range(count):
        raw.execute("INSERT INTO t VALUES (randomblob(1000000))")


@asynccontextmanager
async def _checkpointer(path: Path) -> AsyncGenerator[Checkpointer]:
    running = Checkpointer(path, period=0.01)
    try:
        yield running
    finally:
        await running.aclose()


async def test_the_role_moves_when_its_holder_is_killed(path: Path, peer: StartPeer) -> None:
    url = f"sqlite:///{path}"
    holder = await peer("hold_checkpoints", url)
    database = await open_database(url)
    assert database.checkpointer is not None
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5):
            await database.checkpointer.is_leader.wait()
    await holder.dies()
    async with asyncio.timeout(5):
        await database.checkpointer.is_leader.wait()
    await database.aclose()


async def test_the_role_moves_when_its_holder_closes(path: Path) -> None:
    async with _checkpointer(path) as first:
        await first.is_leader.wait()
        async with _checkpointer(path) as second:
            assert not second.is_leader.is_set()
            await first.aclose()
            async with asyncio.timeout(5):
                await second.is_leader.wait()


async def test_a_process_that_must_not_checkpoint_never_takes_the_role(path: Path) -> None:
    database = await open_database(f"sqlite:///{path}", checkpoint=False)
    assert database.checkpointer is None
    lock = FileLock(Path(f"{path}-checkpoint.lock"))
    assert lock.try_acquire()
    lock.release()
    await database.aclose()


async def test_no_connection_moves_the_log_by_itself(path: Path) -> None:
    raw = connect(path)
    _write(raw, 10)
    assert _wal_bytes(path) > 10_000_000
    raw.close()


async def test_a_long_log_is_moved_and_then_begins_anew(path: Path) -> None:
    raw = connect(path)
    _write(raw, 6)
    assert _wal_bytes(path) > CHECKPOINT_BYTES
    async with _checkpointer(path), asyncio.timeout(10):
        while _wal_bytes(path) > CHECKPOINT_BYTES:
            await asyncio.sleep(0.02)
            raw.execute("INSERT INTO t VALUES (1)")  # the next writer begins the log anew
    raw.close()


async def test_a_very_long_log_is_emptied(path: Path) -> None:
    raw = connect(path)
    raw.execute("BEGIN IMMEDIATE")
    _write(raw, TRUNCATE_BYTES // 1_000_000 + 2)
    raw.execute("COMMIT")
    assert _wal_bytes(path) > TRUNCATE_BYTES
    async with _checkpointer(path), asyncio.timeout(30):
        while _wal_bytes(path) > 0:  # noqa: ASYNC110 - a file sets no events
            await asyncio.sleep(0.02)
    raw.close()


def test_a_reader_in_the_way_leaves_the_checkpoint_incomplete_and_does_not_fail_it(
    path: Path,
) -> None:
    writer, reader = connect(path), connect(path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM t").fetchone()
    _write(writer, 1)
    assert checkpoint(path, "PASSIVE") is False
    assert checkpoint(path, "TRUNCATE") is False
    reader.execute("COMMIT")
    assert checkpoint(path, "PASSIVE") is True
    writer.close()
    reader.close()
