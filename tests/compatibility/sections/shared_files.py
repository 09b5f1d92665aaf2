"""Files and datagrams that processes of different versions share on one machine: names and contents."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import platform
import re
import socket
import tempfile
from pathlib import Path
from unittest.mock import patch

from orchestrator.settings import Settings
from orchestrator.store.database.changes.udp_notifier import (
    UdpListener,
    UdpNotifier,
    listener_folder,
    read_keys,
)
from orchestrator.store.database.drivers.wal_checkpointer import Checkpointer
from orchestrator.store.database.engine import migration_lock
from orchestrator.temporal.in_flight_journal import (
    InFlightJournal,
    InFlightTask,
    Machine,
    journal_scope,
)
from orchestrator.workflows.interface import CallRef, RunRef
from perdure.dev.lock import locked
from perdure.dev.record import ProcessRecord
from perdure.dev.state import LocalConnection, StateFolder
from perdure.http.connection import CONNECTION_FILE
from perdure.worker.liveness_lock import LivenessLock, lock_folder, peer_group
from tests.compatibility.comparison import Json

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SLOT = 2_048


def shared_files() -> Json:
    """Written to a temporary folder. Values that differ each time are shown as `#`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = folder / "store/perdure.db"
        database.parent.mkdir()
        database.touch()
        return {
            "state folder": _state_folder(folder / "state"),
            "beside the database": asyncio.run(_beside_the_database(database)),
            "UDP notification of changes": asyncio.run(
                _notification(listener_folder(folder / "perdure.db"))
            ),
            "in-flight journal": _journal(folder / "tasks"),
            "liveness lock of a function worker": _liveness_lock(folder / "machines"),
        }


def _names(folder: Path) -> list[Json]:
    return [_masked(path.name) for path in sorted(folder.iterdir())]


def _masked(name: str) -> str:
    """With `#` for process ids, ports and random parts."""
    return re.sub(r"[0-9A-Za-z]{26}|[0-9a-f]{16}|\d{3,}", "#", name)


def _state_folder(path: Path) -> Json:
    settings = Settings(state_dir=path, database_url=None, task_journal=None)
    state = StateFolder.create(path)
    connection = LocalConnection(url="u", api_key="k", cluster_id="c", temporal_address="t")
    state.write_connection(connection)
    ProcessRecord(state.process_record).add("api", os.getpid())
    with locked(state) as lock:
        lock.announce("url")
        held = json.loads(state.lock_file.read_text())
    (process,) = json.loads(state.process_record.read_text())
    tasks = settings.task_folder
    assert tasks is not None
    return {
        "files created": _names(path),
        "names of other files": sorted(
            str(file.relative_to(path))
            for file in (
                tasks,
                state.key_file,
                state.temporal_data,
                state.log_file("api"),
                state.ready_file("worker"),
            )
        ),
        "database": settings.store_url.replace(str(path.resolve()), "{state}"),
        "connection file of clients": str(CONNECTION_FILE),
        "connection.json": json.loads(state.connection_file.read_text()),
        "lock": {**held, "pid": "#"} if held["pid"] == os.getpid() else held,
        "processes.json": {**process, "pid": "#", "mark": "#"},
    }


async def _beside_the_database(path: Path) -> Json:
    checkpointer = Checkpointer(path)
    await asyncio.wait_for(checkpointer.is_leader.wait(), 10)
    await checkpointer.aclose()
    return [*_names(path.parent), migration_lock(path).name, listener_folder(path).name]


async def _notification(folder: Path) -> Json:
    """The file of a listener, and the datagram that a listener of another version receives, whose file is created here."""
    listener = UdpListener(folder, lambda _: None)
    listener.start()
    names = _names(folder)
    listener.stop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        entry = folder / f"{receiver.getsockname()[1]}-{'0' * 16}"
        with entry.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            sender = UdpNotifier(folder)
            sender.send([7, -3])
            sender.close()
            datagram = receiver.recv(8_192)
    return {
        "files": names,
        "datagram": datagram.decode(),
        "keys read from it": sorted(map(str, read_keys(datagram))),
    }


def _journal(folder: Path) -> Json:
    journal = InFlightJournal(folder, "0" * 16)
    journal.machine = Machine("cluster", "machine")
    task = InFlightTask(b"token", 2, CallRef(RunRef("cluster", "run"), "call"))
    with journal.record(task):
        (file,) = folder.iterdir()
        name, content = _masked(file.name), file.read_bytes()
    journal.close()
    header, line = content[:_SLOT], content[_SLOT : 2 * _SLOT]
    process = journal.process
    return {
        "file": name,
        "bytes per line": len(header),
        "first line": {**json.loads(header), "process": "#"}
        if process in header.decode()
        else header.decode(),
        "line of a task": json.loads(line),
        "scope": _scope(),
    }


def _scope() -> str:
    """Part of the file name. Processes read only files of their own scope, so all versions must compute the same hash."""
    made = journal_scope(Settings(temporal_address="host:1", temporal_namespace="namespace"))
    known = _hash(f"{_kernel()}\0host:1\0namespace")
    return "hash of kernel, address and namespace" if made == known else "another hash"


def _liveness_lock(folder: Path) -> Json:
    folder.mkdir()
    with patch.object(tempfile, "tempdir", str(folder)):
        where = lock_folder()
    assert where is not None
    peers = peer_group("url", "digest")
    lock = LivenessLock(where, peers, "machine")
    lock.hold()
    (file,) = where.iterdir()
    entry: dict[str, Json] = {
        "folder": where.name.replace(str(os.getuid()), "{user}"),
        "file": _masked(file.name),
        "content": file.read_text(),
        "peers": "hash of kernel, URL and key"
        if peers == _hash(f"{_kernel()} url digest")
        else "another hash",
    }
    lock.release()
    return entry


def _kernel() -> str:
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else platform.node()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
