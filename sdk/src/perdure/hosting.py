"""Functions hosted in a Temporal worker: they run in its process, without HTTP."""

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
    """The result of a call, and its blobs."""

    result: PostResult
    blobs: tuple[CreateBlob, ...] = ()


class Host:
    """Runs the functions of some services, each at most `concurrency` times at once."""

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
        """Import the services of `module:name,name`; several such texts are separated by spaces.

        Raises `ConfigurationError`, and what a module raises when it is imported.
        """
        return cls([service for target in targets.split() for service in load_services(target)])

    def concurrency(self, service: str, function: str) -> int:
        """How many calls of the function this process runs at once."""
        return self._functions[service, function].concurrency

    def free(self, service: str, function: str) -> int:
        """How many more calls of the function could begin now."""
        return self.concurrency(service, function) - self._running[service, function]

    @asynccontextmanager
    async def slot(self, service: str, function: str) -> AsyncGenerator[None]:
        """Wait for a free slot of the function, and hold it inside the block."""
        async with self._slots[service, function]:
            self._running[service, function] += 1
            try:
                yield
            finally:
                self._running[service, function] -= 1

    async def perform(self, call: FunctionCall, cancelled: asyncio.Event) -> Performed | None:
        """Run a call; None if it was cancelled meanwhile. An exception of the function is a result."""
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
