"""Base of the handles to runs and calls: the last snapshot, and the long poll for the end."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar, cast

from typing_extensions import override

from perdure.contract import Call as CallSnapshot, Run as RunSnapshot
from perdure.http.backoff import Backoff
from perdure.http.cluster_api import ClusterApi
from perdure.sync.proxy import SyncProxy

SnapshotT = TypeVar("SnapshotT", bound=RunSnapshot | CallSnapshot)
StatusT = TypeVar("StatusT")

_OUTAGE_TOLERANCE = 300.0
"""Seconds that a poll without a timeout outlasts an unavailable API."""
_MIN_LONG_POLL = 0.1
"""An unchanged response within this time (seconds) was not a long poll."""


class AsyncHandle(ABC, Generic[SnapshotT, StatusT]):
    """A resource of the API and its last snapshot."""

    _resource: ClassVar[str]
    """First segment of its path."""
    _max_wait: ClassVar[float]
    """Seconds that one long poll lasts at most."""
    _poll_query: ClassVar[dict[str, str]] = {}

    def __init__(self, api: ClusterApi, snapshot: SnapshotT) -> None:
        self._api = api
        self._snapshot = snapshot

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self._snapshot.status.value}>"

    @property
    def id(self) -> str:
        return self._snapshot.id

    @property
    def status(self) -> StatusT:
        """The status in the last snapshot; `refresh` and `poll` update it."""
        return cast(StatusT, self._snapshot.status)

    @property
    def snapshot(self) -> SnapshotT:
        """The last snapshot."""
        return self._snapshot

    async def refresh(self) -> SnapshotT:
        """Read the current state. Raises `NotFoundError` if it was deleted."""
        return self._update(
            await self._api.read(type(self._snapshot), "GET", self._resource, self.id)
        )

    def _update(self, snapshot: SnapshotT) -> SnapshotT:
        self._snapshot = snapshot
        return snapshot

    @abstractmethod
    def _has_ended(self) -> bool:
        """Whether the last snapshot is final."""

    async def _wait_for_end(self, timeout: float | None) -> bool:  # noqa: ASYNC109 - a long poll's own limit
        """Read the state until it is final; False if that takes more than `timeout` seconds.

        Raises `ConnectionFailedError`.
        """
        clock = asyncio.get_running_loop().time
        deadline = None if timeout is None else clock() + timeout
        backoff = Backoff(first=_MIN_LONG_POLL, longest=1.0)
        while True:
            asked_at, before = clock(), self._snapshot
            await self._long_poll(None if deadline is None else max(0.0, deadline - asked_at))
            if self._has_ended():
                return True
            if deadline is not None and clock() >= deadline:
                return False
            if self._snapshot == before and clock() - asked_at < _MIN_LONG_POLL:
                await asyncio.sleep(backoff.delay())

    async def _long_poll(self, remaining: float | None) -> None:
        """Read the state, at once if it was final: a next turn may have begun."""
        wait = 0.0 if self._has_ended() else self._max_wait
        wait = wait if remaining is None else min(wait, remaining)
        self._update(
            await self._api.read(
                type(self._snapshot),
                "GET",
                *(self._resource, self.id),
                query={"wait": round(wait, 3), **self._poll_query} if wait else None,
                wait=wait,
                patience=_OUTAGE_TOLERANCE if remaining is None else remaining,
            )
        )


AioT = TypeVar("AioT", bound=AsyncHandle[Any, Any])


class Handle(SyncProxy[AioT], Generic[AioT, SnapshotT, StatusT]):
    """The synchronous form of a handle."""

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.snapshot.status.value}>"

    @property
    def id(self) -> str:
        return self.aio.id

    @property
    def status(self) -> StatusT:
        """The status in the last snapshot; `refresh` and `poll` update it."""
        return cast(StatusT, self.aio.status)

    @property
    def snapshot(self) -> SnapshotT:
        """The last snapshot."""
        return cast(SnapshotT, self.aio.snapshot)
