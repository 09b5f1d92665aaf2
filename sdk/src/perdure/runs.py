"""Handles to runs: `AsyncRun`, and `Run`, its synchronous face."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import Generic, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx2
from pydantic import ValidationError
from typing_extensions import override

from perdure.backoff import Backoff
from perdure.contract import (
    FINAL_STATUSES,
    MAX_WAIT_SECONDS,
    CancelRun,
    CreateMessage,
    Event,
    Message,
    MessagePage,
    Run as RunSnapshot,
    RunStatus,
)
from perdure.errors import (
    ConflictError,
    ConnectionFailedError,
    PollTimeoutError,
    RateLimitedError,
    RunCancelledError,
    RunFailedError,
    ServerError,
)
from perdure.json_wire import build
from perdure.results import ResultReader, RunResult
from perdure.threads import Portal
from perdure.transport import Transport, read_reply

T = TypeVar("T")

_OUTAGE = 300.0
"""Seconds that `poll` without a timeout outlasts an API that is away."""
_PROMPT = 0.1
"""An unchanged answer that comes faster than this (seconds) was no long poll."""


class AsyncRun(Generic[T]):
    """A run, and what was last seen of it. Made by the client."""

    def __init__(
        self, transport: Transport, snapshot: RunSnapshot, reader: ResultReader[T]
    ) -> None:
        self._transport = transport
        self._reader = reader
        self._snapshot = snapshot
        cluster, run = quote(snapshot.cluster_id, safe=""), quote(snapshot.id, safe="")
        self._path = f"/clusters/{cluster}/runs/{run}"

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.status.value}>"

    @property
    def id(self) -> str:
        return self._snapshot.id

    @property
    def status(self) -> RunStatus:
        """The status last seen; `refresh` and `poll` look again."""
        return self._snapshot.status

    @property
    def snapshot(self) -> RunSnapshot:
        """The run as last seen."""
        return self._snapshot

    async def refresh(self) -> RunSnapshot:
        """Look at the run now."""
        return await self._look(wait=0, patience=None)

    async def poll(self, timeout: float | None = None) -> RunResult[T]:  # noqa: ASYNC109 - a long poll's own limit
        """Wait until the current turn has ended and return its result.

        `timeout` is in seconds; without one it waits as long as it takes, outlasting an API that is away for
        five minutes. After `send` it is the new turn that is waited for. Raises `RunFailedError`,
        `RunCancelledError`, `PollTimeoutError` (the run goes on), `ResultError`, `ConnectionFailedError`.
        """
        clock = asyncio.get_running_loop().time
        deadline = None if timeout is None else clock() + timeout
        backoff = Backoff(first=_PROMPT, longest=1.0)
        while True:
            asked, before = clock(), self._snapshot.version
            left = None if deadline is None else max(0.0, deadline - asked)
            snapshot = await self._wait_for_change(left)
            if snapshot.status in FINAL_STATUSES:
                return self._finished(snapshot)
            if deadline is not None and clock() >= deadline:
                raise PollTimeoutError(snapshot, f"{timeout} s are over")
            if snapshot.version == before and clock() - asked < _PROMPT:
                await asyncio.sleep(backoff.delay())

    async def send(self, message: str) -> Message:
        """Add a follow-up; a busy run takes it up in order, a finished one begins its next turn.

        Raises `ConflictError` when the run is not interactive or was cancelled.
        """
        body = build(CreateMessage, {"message": message, "id": uuid4().hex})
        response = await self._transport.send("POST", f"{self._path}/messages", body=body)
        return read_reply(Message, response)

    async def cancel(self, reason: str | None = None) -> RunSnapshot:
        """Stop the run. Cancelling a cancelled run is no error; raises `ConflictError` for a finished one."""
        body = build(CancelRun, {"reason": reason})
        try:
            response = await self._transport.send("POST", f"{self._path}/cancel", body=body)
        except ConflictError:
            if (await self.refresh()).status is RunStatus.CANCELLED:
                return self._snapshot
            raise
        self._snapshot = read_reply(RunSnapshot, response)
        return self._snapshot

    async def resume(self) -> RunSnapshot:
        """Let a paused run go on. Raises `ConflictError` for one that is not paused."""
        response = await self._transport.send("POST", f"{self._path}/resume")
        self._snapshot = read_reply(RunSnapshot, response)
        return self._snapshot

    async def messages(self) -> list[Message]:
        """The conversation so far, oldest first."""
        messages: list[Message] = []
        cursor: str | None = None
        while True:
            response = await self._transport.send(
                "GET", f"{self._path}/messages", query={"cursor": cursor}
            )
            page = read_reply(MessagePage, response)
            messages += page.items
            cursor = page.next_cursor
            if cursor is None:
                return messages

    async def events(self, after: int = 0) -> AsyncGenerator[Event, None]:
        """What happens to the run, from the event numbered `after` + 1 on, as it happens.

        Each event comes once and in order, over broken connections too. Ends when the turn has ended and its
        last event was given.
        """
        position = after
        backoff = Backoff(longest=5.0)
        while not await self._ended_by(position):
            try:
                async for event in self._stream(position):
                    position = event.version
                    backoff.reset()
                    yield event
                    if _may_end_turn(event) and await self._ended_by(position):
                        return
            except (ConnectionFailedError, ServerError, RateLimitedError) as error:
                asked = getattr(error, "retry_after", None)
                await asyncio.sleep(backoff.delay() if asked is None else asked)
            else:
                await asyncio.sleep(backoff.delay())

    async def _stream(self, after: int) -> AsyncGenerator[Event, None]:
        headers = {"Last-Event-ID": str(after)} if after else {}
        async with self._transport.events(f"{self._path}/events", headers) as source:
            async for item in source:
                event = _read_event(item)
                if event is not None and event.version > after:
                    yield event

    async def _ended_by(self, position: int) -> bool:
        snapshot = await self.refresh()
        return snapshot.status in FINAL_STATUSES and snapshot.version <= position

    async def _wait_for_change(self, left: float | None) -> RunSnapshot:
        """Look at once when the turn seems over (there may be a next one), else when something happens."""
        wait = 0.0 if self.status in FINAL_STATUSES else MAX_WAIT_SECONDS
        patience = _OUTAGE if left is None else left
        return await self._look(wait=wait if left is None else min(wait, left), patience=patience)

    async def _look(self, wait: float, patience: float | None) -> RunSnapshot:
        response = await self._transport.send(
            "GET",
            self._path,
            query={"wait": round(wait, 3), "until": "final"} if wait else None,
            wait=wait,
            patience=patience,
        )
        self._snapshot = read_reply(RunSnapshot, response)
        return self._snapshot

    def _finished(self, snapshot: RunSnapshot) -> RunResult[T]:
        if snapshot.status is RunStatus.FAILED:
            raise RunFailedError(snapshot, snapshot.failure_reason)
        if snapshot.status is RunStatus.CANCELLED:
            raise RunCancelledError(snapshot, snapshot.failure_reason)
        return self._reader.read(snapshot)


class Run(Generic[T]):
    """A run, and what was last seen of it: `AsyncRun` without the waiting in the code."""

    def __init__(self, portal: Portal, run: AsyncRun[T]) -> None:
        self._portal = portal
        self._run = run

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.status.value}>"

    @property
    def id(self) -> str:
        return self._run.id

    @property
    def status(self) -> RunStatus:
        """The status last seen; `refresh` and `poll` look again."""
        return self._run.status

    @property
    def snapshot(self) -> RunSnapshot:
        """The run as last seen."""
        return self._run.snapshot

    def refresh(self) -> RunSnapshot:
        """Look at the run now."""
        return self._portal.call(self._run.refresh())

    def poll(self, timeout: float | None = None) -> RunResult[T]:
        """Wait until the current turn has ended and return its result; see `AsyncRun.poll`."""
        return self._portal.call(self._run.poll(timeout))

    def send(self, message: str) -> Message:
        """Add a follow-up; see `AsyncRun.send`."""
        return self._portal.call(self._run.send(message))

    def cancel(self, reason: str | None = None) -> RunSnapshot:
        """Stop the run; see `AsyncRun.cancel`."""
        return self._portal.call(self._run.cancel(reason))

    def resume(self) -> RunSnapshot:
        """Let a paused run go on; see `AsyncRun.resume`."""
        return self._portal.call(self._run.resume())

    def messages(self) -> list[Message]:
        """The conversation so far, oldest first."""
        return self._portal.call(self._run.messages())

    def events(self, after: int = 0) -> Iterator[Event]:
        """What happens to the run, as it happens; see `AsyncRun.events`."""
        return self._portal.iterate(self._run.events(after))


def _may_end_turn(event: Event) -> bool:
    return event.data.get("status") in FINAL_STATUSES


def _read_event(item: httpx2.ServerSentEvent) -> Event | None:
    try:
        return Event.model_validate_json(item.data)
    except ValidationError:  # a greeting or a goodbye of the stream, not an event of the run
        return None
