"""SQLite files as the sqlite3 module opens them: with our settings, and with turns between writers."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

BUSY_SECONDS = 5.0
_WAL_LIMIT_BYTES = 1024 * 1024
_BUSY_PAUSE_SECONDS = 0.0005


def connect(path: Path) -> sqlite3.Connection:
    """A raw autocommit connection with our settings. Any one thread at a time may use it."""
    raw = sqlite3.connect(
        path,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
    )
    raw.execute("PRAGMA synchronous=FULL")
    raw.execute("PRAGMA wal_autocheckpoint=0")  # one process checkpoints: see wal_checkpointer.py
    # A restarted WAL is truncated to this size, so that the file's size says how much is in it.
    raw.execute(f"PRAGMA journal_size_limit={_WAL_LIMIT_BYTES}")
    return raw


def begin_immediate(raw: sqlite3.Connection) -> None:
    """Begin a writing transaction as soon as no other process writes.

    SQLite's own busy handler sleeps up to 100 ms between two attempts, so a writer could wait for a lock that is free. This
    function tries every half millisecond. Raises `sqlite3.OperationalError` after 5 s.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            raw.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            # In the connection's own thread. SQLite does not notify anybody when a lock is free, so it must be polled.
            time.sleep(_BUSY_PAUSE_SECONDS)
        else:
            return


def can_begin_now(raw: sqlite3.Connection) -> bool:
    """Begin a writing transaction if no other process is writing."""
    try:
        raw.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:  # also for worse errors than busy: the thread will report them
        return False
    return True


def is_busy(error: BaseException | None) -> bool:
    """True if another connection was in the way ("database is locked")."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF == sqlite3.SQLITE_BUSY


def use_wal(path: Path) -> None:
    """Put the file into WAL mode, which it then stays in. Only one process at a time may try.

    Raises `sqlite3.OperationalError` where the file system cannot carry a WAL (network file systems).
    """
    raw = connect(path)
    try:
        (mode,) = raw.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise sqlite3.OperationalError(f"{path} cannot use a write-ahead log (mode {mode!r})")
    finally:
        raw.close()
