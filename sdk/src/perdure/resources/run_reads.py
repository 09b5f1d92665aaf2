"""The reads of a run: events, calls, blobs, deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime

import httpx2
from pydantic import ValidationError

from perdure.contract import (
    FINAL_STATUSES,
    Blob,
    Call,
    CallStatus,
    Delivery,
    Event,
    Run as RunSnapshot,
    RunStatus,
    Timeline,
)
from perdure.errors import ConnectionFailedError, RateLimitedError, ServerError
from perdure.http.backoff import Backoff
from perdure.http.cluster_api import PageOf
from perdure.resources.handle import AsyncHandle


class AsyncRunReads(AsyncHandle[RunSnapshot, RunStatus]):
    """The part of a run's handle that reads data of the run."""

    async def events(self, after: int = 0) -> AsyncGenerator[Event, None]:
        """Stream the run's events, from number `after` + 1 on.

        Each event comes once and in order, even if the connection breaks. Ends when the turn has ended and its
        last event was yielded.
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

    async def timeline(self, after: int = 0, *, wait: float = 0, limit: int = 100) -> Timeline:
        """The events after the version `after`, and the messages, calls and blobs that they are about.

        Waits up to `wait` seconds (at most 20) for events. At most `limit` events (at most 500); if `has_more`,
        call it again with its `version`.
        """
        query = {"after": after, "wait": wait, "limit": limit}
        parts = ("runs", self.id, "timeline")
        return await self._api.read(Timeline, "GET", *parts, query=query, wait=wait)

    async def calls(self) -> list[Call]:
        """The calls of the run's model, in order of creation.

        Results over 10,000 characters are omitted: `client.get_call(id)` has them.
        """
        return await self._api.all(PageOf[Call], "runs", self.id, "calls")

    async def approvals(self) -> list[Call]:
        """The run's calls that wait for approval; `client.approve` and `client.deny` decide them."""
        return [call for call in await self.calls() if call.status is CallStatus.INTERRUPTED]

    async def references(self, token: str, *, before: datetime | None = None) -> list[Call]:
        """The calls whose result contains a text, newest first: the origin of a value.

        `token` has at most 1,024 characters, case-sensitive; `before`: only calls that ended earlier.
        """
        query = {"token": token, "before": None if before is None else before.isoformat()}
        return await self._api.all(PageOf[Call], "runs", self.id, "references", query=query)

    async def blobs(self) -> list[Blob]:
        """The blobs of the run's functions, oldest first; `client.read_blob` has the content."""
        return await self._api.all(PageOf[Blob], "runs", self.id, "blobs")

    async def deliveries(self) -> list[Delivery]:
        """Deliveries of transitions to the run's handler or webhook, oldest first."""
        return await self._api.all(PageOf[Delivery], "runs", self.id, "deliveries")

    async def resend(self, delivery: Delivery | int) -> Delivery:
        """Send a delivery again, given itself or by its transition's number.

        Raises `ConflictError` for one that is pending.
        """
        transition = delivery if isinstance(delivery, int) else delivery.transition
        parts = ("runs", self.id, "deliveries", str(transition), "resend")
        return await self._api.read(Delivery, "POST", *parts)

    async def _stream(self, after: int) -> AsyncGenerator[Event, None]:
        headers = {"Last-Event-ID": str(after)} if after else {}
        path = await self._api.path("runs", self.id, "events")
        async with self._api.transport.events(path, headers) as source:
            async for item in source:
                event = _read_event(item)
                if event is not None and event.version > after:
                    yield event

    async def _ended_by(self, position: int) -> bool:
        snapshot = await self.refresh()
        return snapshot.status in FINAL_STATUSES and snapshot.version <= position


def _may_end_turn(event: Event) -> bool:
    return event.data.get("status") in FINAL_STATUSES


def _read_event(item: httpx2.ServerSentEvent) -> Event | None:
    try:
        return Event.model_validate_json(item.data)
    except ValidationError:  # the first or last message of the stream, not an event of the run
        return None
