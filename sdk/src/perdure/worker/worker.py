"""The function worker: serves the functions of one or several services from this process."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perdure.client import AsyncPerdure
from perdure.contract import HEARTBEAT_SECONDS, FunctionCall
from perdure.errors import (
    ApiError,
    AuthenticationError,
    ConfigurationError,
    ConnectionFailedError,
    RateLimitedError,
    ServerError,
)
from perdure.functions.functions import Function, ServiceDefinition
from perdure.http.backoff import Backoff
from perdure.worker.api import WorkerApi
from perdure.worker.concurrency import ConcurrencyLimiter
from perdure.worker.execution import CallExecution
from perdure.worker.liveness_lock import LivenessLock, OrphanedWorker, lock_folder, peer_group
from perdure.worker.poller import Poller

logger = logging.getLogger("perdure")

ORPHAN_CHECK_SECONDS = 1.0
"""Seconds between two checks for dead workers on this machine."""
START_SECONDS = 30.0
"""Seconds that `Worker.start` waits for an unavailable API."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Times are seconds. `max_calls` bounds the calls at work over all services, see `ConcurrencyLimiter`."""

    max_calls: int = 50
    poll_seconds: float = 20.0
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    grace_seconds: float = 10.0
    first_delay: float = 0.2
    longest_delay: float = 2.0
    """Limit of the delay between two attempts to reach an unavailable API: runs wait for this worker."""
    refused_delay: float = 10.0
    """Delay between two attempts with a key or functions that the API rejects."""
    lock_folder: Path | None = field(default_factory=lock_folder)
    """Folder on a local disk by which the workers of a machine detect dead ones. None: no detection."""


class Worker:
    """Executes calls from `start` to `stop`, in the event loop of the client.

    It survives outages of the API: it retries with increasing delays and registers again.
    """

    def __init__(
        self,
        services: Sequence[ServiceDefinition],
        client: AsyncPerdure,
        settings: WorkerSettings | None = None,
    ) -> None:
        self._services = services
        self._settings = settings or WorkerSettings()
        self._api = WorkerApi(client.transport)
        self._limiter = ConcurrencyLimiter(self._settings.max_calls)
        self._pollers: dict[Poller, asyncio.Task[None]] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._lock = LivenessLock(
            self._settings.lock_folder,
            peer_group(client.transport.url, client.transport.key_digest),
            self._api.machine_id,
        )
        self._background: list[asyncio.Task[None]] = []

    async def start(self, patience: float | None = START_SECONDS) -> None:
        """Register and begin to poll; returns when both are done.

        Waits `patience` seconds for an unavailable API. None waits indefinitely, also with a rejected key.
        Raises `ConnectionFailedError`, `AuthenticationError`, `InvalidRequestError` for functions the server
        refuses.
        """
        self._lock.hold()
        try:
            for service in self._services:
                poller = self._make_poller(service)
                self._pollers[poller] = asyncio.create_task(poller.run())
            for poller in self._pollers:
                await self._wait_until_started(poller, patience)
            self._background.append(asyncio.create_task(self._report_orphans()))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop polling, let running calls finish within the grace time, cancel the rest.

        The server retries a cancelled call in another process or reports it to the model as lost.
        """
        await _cancel([*self._pollers.values(), *self._background])
        self._pollers.clear()
        self._background.clear()
        if self._calls:
            logger.info("Waiting for %d calls to finish.", len(self._calls))
            await asyncio.wait(self._calls, timeout=self._settings.grace_seconds)
        await _cancel(self._calls)
        self._lock.release()

    async def _report_orphans(self) -> None:
        """Report dead workers, so that their calls are requeued at once instead of after a heartbeat timeout."""
        while True:
            with self._lock.orphans() as orphans:
                for orphan in orphans:
                    await self._report(orphan)
            await asyncio.sleep(ORPHAN_CHECK_SECONDS)

    async def _report(self, orphan: OrphanedWorker) -> None:
        try:
            await self._api.report_lost(orphan.id)
        except (ConnectionFailedError, ServerError, RateLimitedError) as error:
            logger.debug(
                "The dead function worker %s could not be reported yet: %s", orphan.id, error
            )
            return
        except ApiError as error:  # unknown to the server, or reporting is not supported
            logger.debug(
                "The server does not know the dead function worker %s: %s", orphan.id, error
            )
        else:
            logger.info("The function worker %s is dead; its calls were requeued.", orphan.id)
        orphan.remove()

    def _make_poller(self, service: ServiceDefinition) -> Poller:
        settings = self._settings
        return Poller(
            service,
            self._api,
            self._limiter,
            self._start_call,
            poll_seconds=settings.poll_seconds,
            backoff=Backoff(settings.first_delay, settings.longest_delay),
            slow_delay=settings.refused_delay,
        )

    async def _wait_until_started(self, poller: Poller, patience: float | None) -> None:
        try:
            await asyncio.wait_for(asyncio.shield(poller.started), patience)
        except TimeoutError:
            raise poller.last_error or ConnectionFailedError(
                f"The API at {self._api.url} did not accept the registration within {patience:g} s."
            ) from None
        except AuthenticationError:
            if patience is not None:
                raise

    def _start_call(self, call: FunctionCall, function: Function[..., Any]) -> None:
        execution = CallExecution(call, function, self._api, self._settings.heartbeat_seconds)
        self._limiter.acquire(function)
        task = asyncio.create_task(execution.run())
        self._calls.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._calls.discard(task)
            self._limiter.release(function)
            if not task.cancelled() and (error := task.exception()):
                logger.error("Call %s failed in the worker's own code.", call.id, exc_info=error)

        task.add_done_callback(ended)


def serve(
    services: Sequence[ServiceDefinition],
    *,
    client: AsyncPerdure | None = None,
    when_ready: Callable[[], None] | None = None,
) -> None:
    """Serve functions until SIGTERM or Ctrl-C; calls at work may finish, a second signal ends it at once.

    `when_ready` is called when polling has begun.
    Waits for an unavailable API, now and later. Creates a client if none is given, and closes it at the end.
    Raises `ConfigurationError`, and `InvalidRequestError` for functions the server rejects.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(services, client or AsyncPerdure(), when_ready))


def load_services(target: str) -> list[ServiceDefinition]:
    """Load the services of `module:name` or `module:name,name`; `module` alone means all of its services.

    Modules in the working folder are found. Raises `ConfigurationError`; errors of the module itself propagate.
    """
    module_name, _, names = target.partition(":")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ConfigurationError(f"There is no module {module_name!r} here ({folder}).") from error
    if names:
        return [_service(module, name.strip()) for name in names.split(",")]
    found = [value for value in vars(module).values() if isinstance(value, ServiceDefinition)]
    if not found:
        raise ConfigurationError(f"Module {module_name!r} has no Service in it.")
    return list(dict.fromkeys(found))


def _service(module: object, name: str) -> ServiceDefinition:
    service = getattr(module, name, None)
    if not isinstance(service, ServiceDefinition):
        module_name = getattr(module, "__name__", "?")
        what = "has no such name" if service is None else f"has a {type(service).__name__} there"
        raise ConfigurationError(f"{module_name}:{name} is no Service: the module {what}.")
    return service


async def _serve(
    services: Sequence[ServiceDefinition],
    client: AsyncPerdure,
    when_ready: Callable[[], None] | None,
) -> None:
    async with client, _stop_signal() as stop:
        worker = Worker(services, client)
        starting = asyncio.create_task(worker.start(patience=None))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
                names = ", ".join(service.name for service in services)
                logger.info("Serving %s for %s.", names, client.transport.url)
                if when_ready:
                    when_ready()
                await stop.wait()
        finally:
            await _cancel([starting, stopping])
            await worker.stop()


@asynccontextmanager
async def _stop_signal() -> AsyncGenerator[asyncio.Event]:
    """An event that the first SIGTERM or SIGINT sets; the second one has its usual effect."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    wanted = (signal.SIGTERM, signal.SIGINT)

    def on_signal() -> None:
        stop.set()
        for number in wanted:
            loop.remove_signal_handler(number)

    with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows; not the main thread
        for number in wanted:
            loop.add_signal_handler(number, on_signal)
    try:
        yield stop
    finally:
        with contextlib.suppress(NotImplementedError, RuntimeError):
            for number in wanted:
                loop.remove_signal_handler(number)


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    pending = list(tasks)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
