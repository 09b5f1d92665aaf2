"""Writes audit entries to the store in the background, in batches."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from orchestrator.store.database.errors import OUTAGES
from orchestrator.store.tenants.audit_log import AuditEntry, AuditStore

_log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.5
"""Seconds until an entry is written, while the store is available."""
_BATCH = 500
MAX_PENDING = 50_000
"""Entries kept while the store is unavailable; beyond that the oldest are dropped, and logged as lost."""


class AuditWriter:
    """Accepts entries without blocking. `aclose` writes the rest."""

    def __init__(self, audit: AuditStore) -> None:
        self._audit = audit
        self._pending: list[AuditEntry] = []
        self._write_lock = asyncio.Lock()
        self._writer: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    def record(self, entry: AuditEntry) -> None:
        """Queue the entry."""
        self._pending.append(entry)
        if len(self._pending) > MAX_PENDING:
            lost = len(self._pending) - MAX_PENDING
            del self._pending[:lost]
            _log.error("the store does not answer: %d audit entries are lost", lost)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_soon())

    async def _write_soon(self) -> None:
        while self._pending and not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), FLUSH_SECONDS)
            try:
                await self.flush()
            except OUTAGES as error:
                _log.warning("audit entries wait for the store: %s", type(error).__name__)

    async def flush(self) -> None:
        """Write all queued entries. Raises the store's error if it is unavailable."""
        async with self._write_lock:
            while self._pending:
                batch = self._pending[:_BATCH]
                await self._audit.add(batch)
                del self._pending[: len(batch)]

    async def aclose(self) -> None:
        """Write the remaining entries and stop."""
        self._stop.set()
        if self._writer is not None:
            await self._writer
        try:
            await self.flush()
        except OUTAGES:
            _log.exception("%d audit entries are lost", len(self._pending))
