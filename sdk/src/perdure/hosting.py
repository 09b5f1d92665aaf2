"""Functions beside a Temporal worker: run in its process, on its behalf, without a way over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from perdure.contract import CreateBlob, FunctionCall, PostResult, RegisterMachine
from perdure.errors import ConfigurationError
from perdure.functions.functions import Function, ServiceDefinition
from perdure.worker.invocation import Invocation
from perdure.worker.outcome import Outcome, Rejection, Resolution
from perdure.worker.worker import load_services

__all__ = ["ConfigurationError", "Host", "Performed"]


class Performed(NamedTuple):
    """What came of a call, and the blobs that belong to it."""

    result: PostResult
    blobs: tuple[CreateBlob, ...] = ()


class Host:
    """Runs the functions of some services, each only so often at once as its `concurrency` says."""

    def __init__(self, services: Sequence[ServiceDefinition]) -> None:
        self.definitions: list[RegisterMachine] = [service.definition() for service in services]
        self._functions: dict[tuple[str, str], Function[..., Any]] = {
            (service.name, name): function
            for service in services
            for name, function in service.functions.items()
        }
        self._slots = {
            name: asyncio.Semaphore(function.concurrency)
            for name, function in self._functions.items()
        }
        self._running = Counter[tuple[str, str]]()

    @classmethod
    def load(cls, targets: str) -> Host:
        """The services that `module:name,name` means, several of them separated by spaces.

        Raises `ConfigurationError`; what a module itself raises passes.
        """
        return cls([service for target in targets.split() for service in load_services(target)])

    def concurrency(self, service: str, function: str) -> int:
        """How many calls of the function this process works on at once."""
        return self._functions[service, function].concurrency

    def free(self, service: str, function: str) -> int:
        """How many more calls of the function could begin now."""
        return self.concurrency(service, function) - self._running[service, function]

    @asynccontextmanager
    async def slot(self, service: str, function: str) -> AsyncGenerator[None]:
        """Wait for room for one more call of the function, and keep it."""
        async with self._slots[service, function]:
            self._running[service, function] += 1
            try:
                yield
            finally:
                self._running[service, function] -= 1

    async def perform(self, call: FunctionCall, cancelled: asyncio.Event) -> Performed | None:
        """Work on a call; None where it became unwanted before it was done. Whatever the function raises is a result."""
        work = Invocation(call, self._functions[call.service, call.function])
        outcome = await work.outcome(cancelled)
        return None if outcome is None else _performed(outcome, call.attempt, work.milliseconds)


def _performed(outcome: Outcome, attempt: int, milliseconds: int) -> Performed:
    try:
        posted = PostResult.model_validate(json.loads(outcome.body(attempt, milliseconds)))
    except RecursionError:
        refused = Rejection("ResultRefused", "The result is nested too deeply.")
        return _performed(refused, attempt, milliseconds)
    blobs = outcome.blobs if isinstance(outcome, Resolution) else ()
    return Performed(posted, tuple(blob.request() for blob in blobs))
