"""Handles to runs: `AsyncRun`, and `Run`, its synchronous form."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from typing_extensions import override

from perdure.contract import FINAL_STATUSES, MAX_WAIT_SECONDS, Run as RunSnapshot, RunStatus
from perdure.errors import PollTimeoutError, RunCancelledError, RunFailedError
from perdure.http.cluster_api import ClusterApi
from perdure.resources.handle import Handle
from perdure.resources.results import ResultReader, RunResult
from perdure.resources.run_control import AsyncRunControl
from perdure.resources.run_reads import AsyncRunReads
from perdure.sync.proxy import sync_iterator, sync_method

T = TypeVar("T")


class AsyncRun(AsyncRunControl, AsyncRunReads, Generic[T]):
    """A run and its last snapshot. Created by the client."""

    _resource = "runs"
    _max_wait = MAX_WAIT_SECONDS
    _poll_query: ClassVar = {"until": "final"}

    def __init__(self, api: ClusterApi, snapshot: RunSnapshot, reader: ResultReader[T]) -> None:
        super().__init__(api, snapshot)
        self._reader = reader

    async def poll(self, timeout: float | None = None) -> RunResult[T]:  # noqa: ASYNC109 - a long poll's own limit
        """Wait until the current turn has ended and return its result.

        `timeout` is in seconds, default none. It tolerates an API that is unavailable for
        five minutes. After `send` it waits for the new turn. Raises `RunFailedError`,
        `RunCancelledError`, `PollTimeoutError` (the run continues), `ResultError`, `ConnectionFailedError`.
        """
        if not await self._wait_for_end(timeout):
            raise PollTimeoutError(self._snapshot, f"{timeout} s are over")
        return self._finished(self._snapshot)

    @override
    def _has_ended(self) -> bool:
        return self.status in FINAL_STATUSES

    def _finished(self, snapshot: RunSnapshot) -> RunResult[T]:
        if snapshot.status is RunStatus.FAILED:
            raise RunFailedError(snapshot, snapshot.failure_reason)
        if snapshot.status is RunStatus.CANCELLED:
            raise RunCancelledError(snapshot, snapshot.failure_reason)
        return self._reader.read(snapshot)


class Run(Handle[AsyncRun[T], RunSnapshot, RunStatus]):
    """A run and its last snapshot: the synchronous form of `AsyncRun`."""

    def poll(self, timeout: float | None = None) -> RunResult[T]:
        """Wait until the current turn has ended and return its result; see `AsyncRun.poll`."""
        return self.portal.call(self.aio.poll(timeout))

    refresh = sync_method(AsyncRunControl.refresh)

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
