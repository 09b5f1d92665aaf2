"""Executes one call: acknowledges it, runs it with heartbeats, posts its result."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from perdure.contract import FunctionCall
from perdure.errors import (
    ApiError,
    ConflictError,
    ConnectionFailedError,
    NotFoundError,
    PerdureError,
    RateLimitedError,
    ServerError,
    TooLargeError,
)
from perdure.functions.blobs import BlobData
from perdure.functions.functions import Function
from perdure.http.backoff import Backoff
from perdure.worker.api import WorkerApi
from perdure.worker.invocation import Invocation, log_call
from perdure.worker.outcome import Outcome, Rejection, Resolution, too_large

_RETRY_HEARTBEAT = 1.0
"""Seconds after which a failed heartbeat is repeated."""
_MIN_REPORT_SECONDS = 30.0
"""Minimum seconds for which posting a result is retried, even if the call's timeout is shorter."""


class CallExecution:
    """Executes one call; `run` raises only if it is cancelled itself."""

    def __init__(
        self,
        call: FunctionCall,
        function: Function[..., Any],
        api: WorkerApi,
        heartbeat_seconds: float,
    ) -> None:
        self._call = call
        self._api = api
        self._heartbeat_seconds = heartbeat_seconds
        self._clock = asyncio.get_running_loop().time
        self._cancelled = asyncio.Event()
        self._invocation = Invocation(call, function)

    async def run(self) -> None:
        """Acknowledge, run and post the result. Nothing is posted if the call was cancelled."""
        if not await self._acknowledge():
            return
        heart = asyncio.create_task(self._beat())
        try:
            outcome = await self._invocation.outcome(self._cancelled)
            if outcome is not None:
                await self._report(outcome)
        finally:
            heart.cancel()

    async def _acknowledge(self) -> bool:
        """Acknowledge the call before running it: the server counts the attempt here.

        A function that crashes the process must not run uncounted.
        """
        backoff = Backoff(longest=1.0)
        while True:
            try:
                return await self._api.heartbeat(self._call)
            except (ConnectionFailedError, ServerError, RateLimitedError) as error:
                delay = _retry_delay(error, backoff)
                if delay > self._invocation.seconds_left:
                    self._log(logging.WARNING, "could not be acknowledged and is abandoned", error)
                    return False
                await asyncio.sleep(delay)
            except PerdureError as error:
                self._log(logging.INFO, "is leased to another worker", error)
                return False

    async def _beat(self) -> None:
        pause = self._heartbeat_seconds
        while True:
            await asyncio.sleep(pause)
            try:
                wanted = await self._api.heartbeat(self._call)
            except (ConflictError, NotFoundError):
                wanted = False
            except PerdureError as error:
                self._log(logging.DEBUG, "could not send its heartbeat", error)
                pause = min(_RETRY_HEARTBEAT, self._heartbeat_seconds)
                continue
            pause = self._heartbeat_seconds
            if not wanted:
                self._cancelled.set()
                return

    async def _report(self, outcome: Outcome) -> None:
        """Post the outcome, retrying for the call's timeout while the API is unavailable."""
        patience = max(_MIN_REPORT_SECONDS, self._call.timeout_seconds)
        deadline = self._clock() + patience
        backoff = Backoff(longest=2.0)
        body = self._body(outcome)
        blobs = list(outcome.blobs) if isinstance(outcome, Resolution) else []
        while True:
            try:
                await self._upload(blobs)
                await self._api.post_result(self._call, body)
            except (ConflictError, NotFoundError) as error:
                self._log(logging.INFO, "finished too late: the server rejected its result", error)
            except (ConnectionFailedError, ServerError, RateLimitedError) as error:
                delay = _retry_delay(error, backoff)
                if self._clock() + delay < deadline:
                    await asyncio.sleep(delay)
                    continue
                self._log(logging.ERROR, "could not post its result", error)
            except ApiError as error:
                if not isinstance(outcome, Rejection):
                    outcome, blobs = _refusal(error, len(body), blobs), []
                    body = self._body(outcome)
                    continue
                self._log(logging.ERROR, "could not post its result", error)
            return

    async def _upload(self, blobs: list[BlobData]) -> None:
        """Upload the blobs one by one, removing each from the list."""
        while blobs:
            await self._api.post_blob(self._call, blobs[0])
            del blobs[0]

    def _body(self, outcome: Outcome) -> bytes:
        return outcome.body(self._call.attempt, self._invocation.milliseconds)

    def _log(self, level: int, text: str, error: Exception | None = None) -> None:
        log_call(self._call, level, text, error)


def _refusal(error: ApiError, size: int, blobs: list[BlobData]) -> Rejection:
    if blobs:  # its turn was the first one's
        return Rejection(
            "BlobRefused", f"The server rejected the blob {blobs[0].name!r}: {error.detail}"
        )
    if isinstance(error, TooLargeError):
        return too_large(size)
    return Rejection("ResultRefused", f"The server rejected the result: {error.detail}")


def _retry_delay(error: PerdureError, backoff: Backoff) -> float:
    retry_after = error.retry_after if isinstance(error, ApiError) else None
    return backoff.delay() if retry_after is None else retry_after
