"""Errors that mean the database cannot be reached or used just now, whatever was asked of it."""

from __future__ import annotations

from sqlalchemy.exc import InterfaceError, OperationalError, TimeoutError as PoolTimeoutError

OUTAGES: tuple[type[Exception], ...] = (OperationalError, InterfaceError, PoolTimeoutError)
"""Away, shutting down, out of disk, out of connections, busy for too long. Asking again later is right."""
