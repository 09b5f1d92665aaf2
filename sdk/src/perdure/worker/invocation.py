"""Runs a function for one call: binds its input, limits its time, converts its outcome."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from perdure.contract import FunctionCall
from perdure.functions.context import Context
from perdure.functions.functions import Function
from perdure.functions.signature import InvalidInputError
from perdure.worker.outcome import Outcome, Rejection, to_outcome

logger = logging.getLogger("perdure")

_CANCEL_GRACE_SECONDS = 2.0
"""Seconds an async function has to end after cancellation before it is abandoned."""


class Invocation:
    """One attempt of one call. Its timeout starts with the construction of this object."""

    def __init__(self, call: FunctionCall, function: Function[..., Any]) -> None:
        self._call = call
        self._function = function
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._context = Context(
            call.run_id,
            call.id,
            call.attempt,
            call.run_context or {},
            approved=call.approved,
            auth=call.auth_context or {},
        )

    @property
    def milliseconds(self) -> int:
        """Since it began."""
        return round((self._clock() - self._began) * 1000)

    @property
    def seconds_left(self) -> float:
        """Of the call's timeout; negative when it is over."""
        return self._began + self._call.timeout_seconds - self._clock()

    async def outcome(self, cancelled: asyncio.Event) -> Outcome | None:
        """Return the outcome, or None if the call was cancelled first."""
        work = asyncio.create_task(self._call_function())
        cancellation = asyncio.create_task(cancelled.wait())
        try:
            await asyncio.wait(
                {work, cancellation}, timeout=self.seconds_left, return_when=asyncio.FIRST_COMPLETED
            )
            if work.done():
                return work.result()
            self._context.cancelled.set()
            if cancellation.done():
                self._log(logging.INFO, "was cancelled")
                return None
            end = "was cancelled" if self._function.is_async else "was abandoned in its thread"
            self._log(logging.WARNING, f"{end} after {self._call.timeout_seconds:g} s")
            return Rejection(
                "TimeoutError",
                f"{self._call.function} did not finish within {self._call.timeout_seconds:g} s.",
            )
        finally:
            self._context.cancelled.set()
            cancellation.cancel()
            if not work.done():
                await self._cancel(work)

    async def _cancel(self, work: asyncio.Task[Outcome]) -> None:
        work.cancel()
        await asyncio.wait({work}, timeout=_CANCEL_GRACE_SECONDS)
        if not work.done():
            self._log(logging.WARNING, "does not end although it was cancelled")

    async def _call_function(self) -> Outcome:
        try:
            returned = await self._function.answer(self._call.input, self._context)
        except InvalidInputError as error:
            return Rejection("InvalidInput", str(error))
        except asyncio.CancelledError as error:
            if self._context.cancelled.is_set():
                raise
            return Rejection.of(error)  # raised by the function itself
        except BaseException as error:  # noqa: BLE001 - SystemExit too: the worker continues
            return Rejection.of(error)
        return to_outcome(returned)

    def _log(self, level: int, what: str) -> None:
        log_call(self._call, level, what)


def log_call(call: FunctionCall, level: int, text: str, error: Exception | None = None) -> None:
    """Log something about a call."""
    logger.log(
        level,
        "Call %s of %s.%s (attempt %d) %s%s",
        *(call.id, call.service, call.function, call.attempt, text),
        f": {error}" if error else ".",
    )
