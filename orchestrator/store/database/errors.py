"""Errors that mean the database cannot be reached or used at the moment, whatever the statement."""

from __future__ import annotations

from sqlalchemy.exc import InterfaceError, OperationalError, TimeoutError as PoolTimeoutError

OUTAGES: tuple[type[Exception], ...] = (OperationalError, InterfaceError, PoolTimeoutError)
"""Unreachable, shutting down, out of disk, out of connections, busy for too long. The caller should retry later."""
