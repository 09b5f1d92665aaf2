"""Receives the calls of one service: registers it, polls, and reconnects after API outages."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from perdure.contract import FunctionCall
from perdure.errors import (
    ApiError,
    AuthenticationError,
    ConnectionFailedError,
    GoneError,
    InvalidRequestError,
    PerdureError,
)
from perdure.functions.functions import Function, ServiceDefinition
from perdure.http.backoff import Backoff
from perdure.worker.api import WorkerApi
from perdure.worker.concurrency import ConcurrencyLimiter

logger = logging.getLogger("perdure")

Start = Callable[[FunctionCall, Function[..., Any]], None]
"""Starts the execution of a call."""

_MIN_LONG_POLL_SECONDS = 0.1
"""An empty response within this time (seconds) was not a long poll."""


class Poller:
    """Runs until it is cancelled. `started` completes with the first registration or fails with its error.

    Each function is asked for by one poll at a time, and functions with the same room share a poll, so that no
    poll brings more calls of a function than it has room for.
    """

    def __init__(
        self,
        service: ServiceDefinition,
        api: WorkerApi,
        limiter: ConcurrencyLimiter,
        start: Start,
        *,
        poll_seconds: float,
        backoff: Backoff,
        slow_delay: float,
    ) -> None:
        self._service = service
        self._api = api
        self._limiter = limiter
        self._start = start
        self._poll_seconds = poll_seconds
        self._backoff = backoff
        self._slow_delay = slow_delay
        self._changed = asyncio.Event()
        self._polls: dict[asyncio.Task[None], Sequence[str]] = {}
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.last_error: PerdureError | None = None
        limiter.on_release(self._changed.set)

    async def run(self) -> None:
        """Register and poll until cancelled; errors are retried with increasing delays."""
        while True:
            try:
                await self._api.register(self._service.definition())
                self._registered()
                await self._poll()
            except PerdureError as error:
                await asyncio.sleep(self._retry_delay(error))

    def _registered(self) -> None:
        if self.last_error is not None and not isinstance(self.last_error, GoneError):
            logger.info("Service %s is connected again.", self._service.name)
        self.last_error = None
        if not self.started.done():
            self.started.set_result(None)

    async def _poll(self) -> None:
        """Keep polls open for all functions with capacity. Raises the error of the first failing poll."""
        try:
            while True:
                self._changed.clear()
                for functions, limit in self._uncovered():
                    poll = asyncio.create_task(self._poll_once(functions, limit))
                    self._polls[poll] = functions
                    poll.add_done_callback(lambda _: self._changed.set())
                await self._changed.wait()
                self._collect()
        finally:
            for poll in self._polls:
                poll.cancel()
            await asyncio.gather(*self._polls, return_exceptions=True)
            self._polls.clear()

    def _uncovered(self) -> list[tuple[list[str], int]]:
        """Return the functions with capacity but without a poll, grouped by capacity."""
        covered = {name for functions in self._polls.values() for name in functions}
        by_capacity: dict[int, list[str]] = defaultdict(list)
        for name, function in self._service.functions.items():
            if name not in covered:
                by_capacity[self._limiter.available(function)].append(name)
        return [(names, available) for available, names in by_capacity.items() if available > 0]

    async def _poll_once(self, functions: Sequence[str], limit: int) -> None:
        clock = asyncio.get_running_loop().time
        asked = clock()
        calls = await self._api.poll(self._service.name, functions, limit, self._poll_seconds)
        self._backoff.reset()
        for call in calls:
            function = self._service.functions.get(call.function)
            if function is None or call.service != self._service.name:
                logger.warning(
                    "%s.%s is not registered in this process.", call.service, call.function
                )
                continue
            self._start(call, function)
        if not calls and clock() - asked < min(_MIN_LONG_POLL_SECONDS, self._poll_seconds):
            await asyncio.sleep(_MIN_LONG_POLL_SECONDS)

    def _collect(self) -> None:
        for poll in [poll for poll in self._polls if poll.done()]:
            del self._polls[poll]
            poll.result()

    def _retry_delay(self, error: PerdureError) -> float:
        """Return the seconds until the next registration; log each kind of error once."""
        is_new = type(error) is not type(self.last_error)
        self.last_error = error
        if isinstance(error, GoneError):
            logger.debug("Service %s registers again.", self._service.name)
            return self._backoff.delay()
        if is_new:
            self._log_error(error)
        if isinstance(error, AuthenticationError | InvalidRequestError):
            if not self.started.done():
                self.started.set_exception(error)
            return self._slow_delay
        retry_after = error.retry_after if isinstance(error, ApiError) else None
        return self._backoff.delay() if retry_after is None else retry_after

    def _log_error(self, error: PerdureError) -> None:
        name = self._service.name
        if isinstance(error, AuthenticationError):
            logger.error(
                "Service %s receives no calls: %s rejects the API key.", name, self._api.url
            )
        elif isinstance(error, ConnectionFailedError):
            logger.warning("Service %s waits for the API: %s", name, error)
        else:
            logger.warning("Service %s could not poll for calls: %s", name, error)
