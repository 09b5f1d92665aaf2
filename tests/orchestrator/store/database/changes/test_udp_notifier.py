"""UDP change notification: every commit notifies the waiting processes; the port of a dead process is removed."""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.runtime.file_lock import FileLock
from orchestrator.store.database.changes.change_feed import CATCH_UP_SECONDS
from orchestrator.store.database.changes.sqlite_source import SqliteChangeSource
from orchestrator.store.database.changes.udp_notifier import (
    UdpListener,
    UdpNotifier,
    listener_folder,
    read_keys,
)
from orchestrator.store.database.engine import Database
from tests.orchestrator.store.database.changes.changes import WAKE_SECONDS, Make, raise_version

StartPeer = Callable[..., Awaitable[Any]]


class RecordingListener:
    """A listener, and the keys that it received."""

    def __init__(self, folder: Path) -> None:
        self.keys: set[int] = set()
        self.datagrams = 0
        self._received = asyncio.Event()
        self.udp_listener = UdpListener(folder, self._on_keys)
        self.udp_listener.start()

    def _on_keys(self, keys: frozenset[int]) -> None:
        self.keys |= keys
        self.datagrams += 1
        self._received.set()

    async def wait_for(self, keys: set[int]) -> None:
        async with asyncio.timeout(5):
            while not keys <= self.keys:
                self._received.clear()
                await self._received.wait()


def entries(folder: Path) -> list[str]:
    """The registered ports."""
    return sorted(path.name.partition("-")[0] for path in folder.iterdir())


def locks(folder: Path) -> list[FileLock]:
    return [FileLock(path) for path in folder.iterdir()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return listener_folder(tmp_path / "perdure.db")


@pytest.fixture
async def listeners(folder: Path) -> AsyncGenerator[Callable[[], RecordingListener]]:
    """Start listeners."""
    started: list[RecordingListener] = []

    def start() -> RecordingListener:
        started.append(RecordingListener(folder))
        return started[-1]

    yield start
    for listener in started:
        listener.udp_listener.stop()


@pytest.fixture
async def notifier(folder: Path) -> AsyncGenerator[UdpNotifier]:
    made = UdpNotifier(folder)
    yield made
    made.close()


async def test_every_listener_but_the_senders_own_receives_a_datagram(
    listeners: Callable[[], RecordingListener], notifier: UdpNotifier
) -> None:
    first, second, own = listeners(), listeners(), listeners()
    notifier.send({-3, 1, 2**62}, own=own.udp_listener.port)
    await first.wait_for({1, -3, 2**62})
    await second.wait_for({1, -3, 2**62})
    notifier.send({4})
    await own.wait_for({4})
    assert own.keys == {4}


async def test_later_listeners_receive_and_stopped_ones_do_not(
    listeners: Callable[[], RecordingListener], notifier: UdpNotifier, folder: Path
) -> None:
    notifier.send({1})  # nobody is there: no error
    first = listeners()
    notifier.send({2})
    await first.wait_for({2})
    second = listeners()
    notifier.send({3})
    await asyncio.gather(first.wait_for({3}), second.wait_for({3}))
    first.udp_listener.stop()
    assert entries(folder) == [str(second.udp_listener.port)]
    notifier.send({4})
    await second.wait_for({4})
    assert first.keys == {2, 3}


async def test_many_keys_are_sent_in_few_datagrams(
    listeners: Callable[[], RecordingListener], notifier: UdpNotifier
) -> None:
    listener = listeners()
    keys = {-(2**62) - number for number in range(4_000)}
    notifier.send(keys)
    await listener.wait_for(keys)
    assert listener.keys == keys
    assert listener.datagrams <= 11


async def test_what_is_no_list_of_keys_is_ignored(
    listeners: Callable[[], RecordingListener],
) -> None:
    listener = listeners()
    said = (
        b"",
        b"1,",
        b"1,,2",
        b"--1",
        b"1-",
        b"one",
        b"\xff\xfe",
        "²".encode(),
        b"9" * 60_000,
        b"1\n",
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for each in (*said, b"7"):
            stranger.sendto(each, ("127.0.0.1", listener.udp_listener.port))
    await listener.wait_for({7})
    assert listener.keys == {7}
    assert all(read_keys(each) == frozenset() for each in said)


async def test_a_dead_process_is_forgotten_and_a_living_one_is_not(
    listeners: Callable[[], RecordingListener],
    notifier: UdpNotifier,
    folder: Path,
    tmp_path: Path,
    peer: StartPeer,
) -> None:
    living = listeners()
    other = await peer("wait_for_change", f"sqlite:///{tmp_path / 'perdure.db'}")
    assert len(entries(folder)) == 2
    await other.dies()
    (folder / "not a port").touch()
    notifier.send({1})
    await living.wait_for({1})
    assert entries(folder) == sorted(("not a port", str(living.udp_listener.port)))


async def test_a_listener_holds_its_file_lock_while_it_runs(
    listeners: Callable[[], RecordingListener], folder: Path
) -> None:
    listener = listeners()
    (entry,) = locks(folder)
    assert not entry.try_acquire()
    listener.udp_listener.stop()
    listener.udp_listener.stop()
    assert listener.udp_listener.port == 0
    assert entries(folder) == []


@pytest.fixture
def in_the_way(folder: Path) -> Path:
    folder.write_text("a file where the folder should be")
    return folder


async def test_where_no_folder_can_be_made_no_listener_starts(
    in_the_way: Path, notifier: UdpNotifier
) -> None:
    listener = UdpListener(in_the_way, lambda keys: None)
    with pytest.raises(FileExistsError):
        listener.start()
    assert listener.port == 0
    listener.stop()
    notifier.send({1})  # no error


# -- the feed without notifications ------------------------------------------------------------------------


on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def _delays(database: Database, other: Database, rounds: int) -> list[float]:
    """Seconds from the other's commits until a waiter knows."""
    delays: list[float] = []
    for _ in range(rounds):
        version = await database.feed.wait(1, after=0, timeout=1)
        waiting = asyncio.create_task(database.feed.wait(1, after=version, timeout=30))
        await asyncio.sleep(0)
        await raise_version(other)
        committed = time.monotonic()
        assert await waiting == version + 1
        delays.append(time.monotonic() - committed)
    return delays


@on_sqlite
async def test_a_commit_of_which_no_datagram_arrives_is_seen_by_the_counter(
    database: Database, another_database: Database, make_runs: Make
) -> None:
    await make_runs(database, 1)
    await database.feed.wait(1, after=0, timeout=1)  # the listener runs now
    hints = database.feed._changes
    assert isinstance(hints, SqliteChangeSource)
    assert hints._listener.port
    hints._listener.stop()
    assert statistics.median(await _delays(database, another_database, 7)) < CATCH_UP_SECONDS / 2


@on_sqlite
async def test_where_no_listener_can_start_the_counter_is_polled_more_often(
    database: Database, another_database: Database, make_runs: Make
) -> None:
    await make_runs(database, 1)
    assert database.path is not None
    listener_folder(database.path).write_text("a file where the folder should be")
    assert statistics.median(await _delays(database, another_database, 9)) < WAKE_SECONDS
