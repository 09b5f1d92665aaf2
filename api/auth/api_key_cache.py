"""Caches of keys and clusters. A revoked key or deleted cluster stops working after `KEY_CACHE_SECONDS`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from orchestrator.errors import NotFoundError
from orchestrator.store.records import KeyRecord
from orchestrator.store.tenants.api_keys import KeyStore, hash_key
from orchestrator.store.tenants.clusters import ClusterRecord, ClusterStore

KEY_CACHE_SECONDS = 2.0
"""Seconds for which a revoked key, a key of a deleted cluster, or an earlier setting is still used."""
_CACHE_SIZE = 10_000

T = TypeVar("T")
Clock = Callable[[], float]


class _TtlCache(Generic[T]):
    """Caches what the store returned for `KEY_CACHE_SECONDS`. Missing values are read every time."""

    def __init__(self, load: Callable[[str], Awaitable[T | None]], clock: Clock) -> None:
        self._load = load
        self._clock = clock
        self._entries: dict[str, tuple[float, T]] = {}

    async def get(self, name: str) -> T | None:
        known = self._entries.get(name)
        if known is not None and self._clock() < known[0]:
            return known[1]
        found = await self._load(name)
        self._entries.pop(name, None)
        if found is not None:
            while len(self._entries) >= _CACHE_SIZE:
                self._entries.pop(next(iter(self._entries)))
            self._entries[name] = (self._clock() + KEY_CACHE_SECONDS, found)
        return found

    def invalidate(self, name: str) -> None:
        self._entries.pop(name, None)


class ApiKeyCache:
    """Finds the record of a key. A busy client costs one read per `KEY_CACHE_SECONDS`."""

    def __init__(self, keys: KeyStore, clock: Clock = time.monotonic) -> None:
        self._cache = _TtlCache(keys.identify, clock)

    async def identify(self, key: str) -> KeyRecord | None:
        """The record of a key; None if it is unknown or revoked."""
        return await self._cache.get(hash_key(key))


class ClusterCache:
    """Finds clusters and their settings."""

    def __init__(self, clusters: ClusterStore, clock: Clock = time.monotonic) -> None:
        self._store = clusters
        self._cache = _TtlCache(self._load, clock)

    async def find(self, cluster_id: str) -> ClusterRecord | None:
        """The cluster; None if it is unknown or deleted."""
        return await self._cache.get(cluster_id)

    def invalidate(self, cluster_id: str) -> None:
        """Drop the cached cluster after a change in this process. Other processes follow when their cache expires."""
        self._cache.invalidate(cluster_id)

    async def _load(self, cluster_id: str) -> ClusterRecord | None:
        if "\0" in cluster_id:  # databases reject NUL, and no id has it
            return None
        try:
            return await self._store.get(cluster_id)
        except NotFoundError:
            return None
