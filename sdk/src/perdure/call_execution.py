"""One call in this process: acknowledged, worked on under heartbeats, answered."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from perdure.backoff import Backoff
from perdure.blobs import BlobData
from perdure.context import Context
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
from perdure.functions import Function
from perdure.outcome import Outcome, Rejection, Resolution, outcome_of, too_large
from perdure.signature import InvalidInputError
from perdure.worker_api import WorkerApi

logger = logging.getLogger("perdure")

_RETRY_HEARTBEAT = 1.0
"""Seconds after which a heartbeat that did not arrive is repeated."""
_SHORTEST_REPORT = 30.0
"""Seconds for which handing in a result is tried at least, however short the call's timeout."""
_LEAVE_TAKING = 2.0
"""Seconds an async function has to end after it was cancelled, before it is left to itself."""


class CallExecution:
    """Works on one call; `run` never raises except when it is cancelled itself."""

    def __init__(
        self,
        call: FunctionCall,
        function: Function[..., Any],
        api: WorkerApi,
        heartbeat_seconds: float,
    ) -> None:
        self._call = call
        self._function = function
        self._api = api
        self._heartbeat_seconds = heartbeat_seconds
        self._clock = asyncio.get_running_loop().time
        self._received = self._clock()
        self._unwanted = asyncio.Event()
        self._context = Context(
            call.run_id,
            call.id,
            call.attempt,
            call.run_context or {},
            approved=call.approved,
            auth=call.auth_context or {},
        )

    async def run(self) -> None:
        """Acknowledge, work, answer. Nothing is posted when the result is not wanted any more."""
        if not await self._acknowledge():
            return
        heart = asyncio.create_task(self._beat())
        try:
            outcome = await self._work()
            if outcome is not None:
                await self._report(outcome)
        finally:
            heart.cancel()

    async def _acknowledge(self) -> bool:
        """Tell the server that the call arrived, before anything is done: this is what counts an attempt.

        A function that takes the process with it must not have run uncounted.
        """
        backoff = Backoff(longest=1.0)
        while True:
            try:
                return await self._api.heartbeat(self._call)
            except (ConnectionFailedError, ServerError, RateLimitedError) as error:
                delay = _pause(error, backoff)
                if self._clock() + delay > self._received + self._call.timeout_seconds:
                    self._say(logging.WARNING, "could not be acknowledged and is given up", error)
                    return False
                await asyncio.sleep(delay)
            except PerdureError as error:
                self._say(logging.INFO, "is no longer ours", error)
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
                self._say(logging.DEBUG, "could not send its heartbeat", error)
                pause = min(_RETRY_HEARTBEAT, self._heartbeat_seconds)
                continue
            pause = self._heartbeat_seconds
            if not wanted:
                self._unwanted.set()
                return

    async def _work(self) -> Outcome | None:
        """The outcome, or None when nobody wants it any more."""
        work = asyncio.create_task(self._answer())
        unwanted = asyncio.create_task(self._unwanted.wait())
        left = self._received + self._call.timeout_seconds - self._clock()
        try:
            await asyncio.wait({work, unwanted}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            self._context.cancelled.set()
            if unwanted.done():
                self._say(logging.INFO, "is not wanted any more")
                return None
            end = "was cancelled" if self._function.is_async else "was abandoned in its thread"
            self._say(logging.WARNING, f"{end} after {self._call.timeout_seconds:g} s")
            return Rejection(
                "TimeoutError",
                f"{self._call.function} did not finish within {self._call.timeout_seconds:g} s.",
            )
        finally:
            self._context.cancelled.set()
            unwanted.cancel()
            if not work.done():
                await self._leave(work)

    async def _leave(self, work: asyncio.Task[Outcome]) -> None:
        work.cancel()
        await asyncio.wait({work}, timeout=_LEAVE_TAKING)
        if not work.done():
            self._say(logging.WARNING, "does not end although it was cancelled")

    async def _answer(self) -> Outcome:
        try:
            returned = await self._function.answer(self._call.input, self._context)
        except InvalidInputError as error:
            return Rejection("InvalidInput", str(error))
        except asyncio.CancelledError as error:
            if self._context.cancelled.is_set():
                raise
            return Rejection.of(error)  # the function's own doing
        except BaseException as error:  # noqa: BLE001 - SystemExit too: the worker goes on
            return Rejection.of(error)
        return outcome_of(returned)

    async def _report(self, outcome: Outcome) -> None:
        """Hand the outcome in, for as long as the call's timeout where the API is away."""
        patience = max(_SHORTEST_REPORT, self._call.timeout_seconds)
        deadline = self._clock() + patience
        backoff = Backoff(longest=2.0)
        body = self._body(outcome)
        blobs = list(outcome.blobs) if isinstance(outcome, Resolution) else []
        while True:
            try:
                await self._upload(blobs)
                await self._api.post_result(self._call, body)
            except (ConflictError, NotFoundError) as error:
                self._say(logging.INFO, "was answered too late", error)
            except (ConnectionFailedError, ServerError, RateLimitedError) as error:
                delay = _pause(error, backoff)
                if self._clock() + delay < deadline:
                    await asyncio.sleep(delay)
                    continue
                self._say(logging.ERROR, "could not be answered", error)
            except ApiError as error:
                if not isinstance(outcome, Rejection):
                    outcome, blobs = _refused(error, len(body), blobs), []
                    body = self._body(outcome)
                    continue
                self._say(logging.ERROR, "could not be answered", error)
            return

    async def _upload(self, blobs: list[BlobData]) -> None:
        """Hand in the blobs one by one; those that are through are taken off the list."""
        while blobs:
            await self._api.post_blob(self._call, blobs[0])
            del blobs[0]

    def _body(self, outcome: Outcome) -> bytes:
        milliseconds = round((self._clock() - self._received) * 1000)
        return outcome.body(self._call.attempt, milliseconds)

    def _say(self, level: int, what: str, error: Exception | None = None) -> None:
        call = self._call
        logger.log(
            level,
            "Call %s of %s.%s (attempt %d) %s%s",
            *(call.id, call.service, call.function, call.attempt, what),
            f": {error}" if error else ".",
        )


def _refused(error: ApiError, size: int, blobs: list[BlobData]) -> Rejection:
    if blobs:  # its turn was the first one's
        return Rejection(
            "BlobRefused", f"The server does not take the blob {blobs[0].name!r}: {error.detail}"
        )
    if isinstance(error, TooLargeError):
        return too_large(size)
    return Rejection("ResultRefused", f"The server does not take the result: {error.detail}")


def _pause(error: PerdureError, backoff: Backoff) -> float:
    asked = error.retry_after if isinstance(error, ApiError) else None
    return backoff.delay() if asked is None else asked
