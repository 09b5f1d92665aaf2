"""Handles to runs: `AsyncRun`, and `Run`, its synchronous face."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from typing_extensions import override

from perdure.contract import FINAL_STATUSES, MAX_WAIT_SECONDS, Run as RunSnapshot, RunStatus
from perdure.errors import PollTimeoutError, RunCancelledError, RunFailedError
from perdure.http.backoff import Backoff
from perdure.http.cluster_api import ClusterApi
from perdure.resources.results import ResultReader, RunResult
from perdure.resources.run_base import AsyncRunBase
from perdure.resources.run_control import AsyncRunControl
from perdure.resources.run_reads import AsyncRunReads
from perdure.sync.proxy import SyncProxy, sync_iterator, sync_method

T = TypeVar("T")

_OUTAGE_TOLERANCE = 300.0
"""Seconds that `poll` without a timeout outlasts an API that is away."""
_MIN_LONG_POLL = 0.1
"""An unchanged answer that comes faster than this (seconds) was no long poll."""


class AsyncRun(AsyncRunControl, AsyncRunReads, Generic[T]):
    """A run, and what was last seen of it. Made by the client."""

    def __init__(self, api: ClusterApi, snapshot: RunSnapshot, reader: ResultReader[T]) -> None:
        super().__init__(api, snapshot)
        self._reader = reader

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.status.value}>"

    async def poll(self, timeout: float | None = None) -> RunResult[T]:  # noqa: ASYNC109 - a long poll's own limit
        """Wait until the current turn has ended and return its result.

        `timeout` is in seconds; without one it waits as long as it takes, outlasting an API that is away for
        five minutes. After `send` it is the new turn that is waited for. Raises `RunFailedError`,
        `RunCancelledError`, `PollTimeoutError` (the run goes on), `ResultError`, `ConnectionFailedError`.
        """
        clock = asyncio.get_running_loop().time
        deadline = None if timeout is None else clock() + timeout
        backoff = Backoff(first=_MIN_LONG_POLL, longest=1.0)
        while True:
            asked_at, before = clock(), self._snapshot.version
            remaining = None if deadline is None else max(0.0, deadline - asked_at)
            snapshot = await self._wait_for_change(remaining)
            if snapshot.status in FINAL_STATUSES:
                return self._finished(snapshot)
            if deadline is not None and clock() >= deadline:
                raise PollTimeoutError(snapshot, f"{timeout} s are over")
            if snapshot.version == before and clock() - asked_at < _MIN_LONG_POLL:
                await asyncio.sleep(backoff.delay())

    async def _wait_for_change(self, remaining: float | None) -> RunSnapshot:
        """Look at once when the turn seems over (there may be a next one), else when something happens."""
        wait = 0.0 if self.status in FINAL_STATUSES else MAX_WAIT_SECONDS
        wait = wait if remaining is None else min(wait, remaining)
        return self._update(
            await self._api.read(
                RunSnapshot,
                "GET",
                *("runs", self.id),
                query={"wait": round(wait, 3), "until": "final"} if wait else None,
                wait=wait,
                patience=_OUTAGE_TOLERANCE if remaining is None else remaining,
            )
        )

    def _finished(self, snapshot: RunSnapshot) -> RunResult[T]:
        if snapshot.status is RunStatus.FAILED:
            raise RunFailedError(snapshot, snapshot.failure_reason)
        if snapshot.status is RunStatus.CANCELLED:
            raise RunCancelledError(snapshot, snapshot.failure_reason)
        return self._reader.read(snapshot)


class Run(SyncProxy[AsyncRun[T]]):
    """A run, and what was last seen of it: `AsyncRun` without the waiting in the code."""

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.status.value}>"

    @property
    def id(self) -> str:
        return self.aio.id

    @property
    def status(self) -> RunStatus:
        """The status last seen; `refresh` and `poll` look again."""
        return self.aio.status

    @property
    def snapshot(self) -> RunSnapshot:
        """The run as last seen."""
        return self.aio.snapshot

    def poll(self, timeout: float | None = None) -> RunResult[T]:
        """Wait until the current turn has ended and return its result; see `AsyncRun.poll`."""
        return self.portal.call(self.aio.poll(timeout))

    refresh = sync_method(AsyncRunBase.refresh)

    send = sync_method(AsyncRunControl.send)
    messages = sync_method(AsyncRunControl.messages)
    edit_message = sync_method(AsyncRunControl.edit_message)
    retry = sync_method(AsyncRunControl.retry)
    cancel = sync_method(AsyncRunControl.cancel)
    resume = sync_method(AsyncRunControl.resume)
    feedback = sync_method(AsyncRunControl.feedback)
    delete = sync_method(AsyncRunControl.delete)

    events = sync_iterator(AsyncRunReads.events)
    timeline = sync_method(AsyncRunReads.timeline)
    calls = sync_method(AsyncRunReads.calls)
    approvals = sync_method(AsyncRunReads.approvals)
    references = sync_method(AsyncRunReads.references)
    blobs = sync_method(AsyncRunReads.blobs)
    deliveries = sync_method(AsyncRunReads.deliveries)
    resend = sync_method(AsyncRunReads.resend)
