"""Cache of crash loops of hosted functions in the hosting process. The store decides; the cache saves reads."""

from __future__ import annotations

import asyncio
import logging

from orchestrator.rules.crash_loop import CrashLoopBackoff
from orchestrator.runtime.clock import now_ms
from orchestrator.store.calls.crash_loops import CrashLoopStore

_log = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0
"""Seconds for which a crash that another process noticed may be unknown here. The calls that it held are read in any case."""


class CrashLoopCache:
    """The hosted functions of a cluster that may be in a crash loop, by their task queues."""

    def __init__(self, store: CrashLoopStore, cluster_id: str) -> None:
        self._store = store
        self._cluster_id = cluster_id
        self._backoffs: dict[str, CrashLoopBackoff] = {}

    async def refresh(self) -> None:
        """Read the crash loops from the store."""
        self._backoffs = await self._store.load_all(self._cluster_id)

    async def run(self) -> None:
        """Refresh until cancelled. No error ends it."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await self.refresh()
            except Exception:  # noqa: BLE001 # a store that is away comes back
                _log.warning("crash loops of hosted functions could not be read", exc_info=True)

    def is_suspect(self, queue: str) -> bool:
        """Whether a process crashed in the function, without a result since."""
        return queue in self._backoffs

    def is_pausing(self, queue: str) -> bool:
        """Whether the function's next call is delayed now."""
        backoff = self._backoffs.get(queue)
        return backoff is not None and backoff.pause_left(now_ms() / 1000) > 0

    async def record_result(self, queue: str) -> None:
        """Record that a call has a result. The result is committed: an error here must not undo it, and the next result repeats it."""
        if self._backoffs.pop(queue, None) is None:
            return
        try:
            await self._store.clear(queue)
        except Exception:  # noqa: BLE001 # the result is committed: this must not undo it
            _log.warning("the crashes of %s could not be forgotten", queue, exc_info=True)
