"""An API process: `python -m api`. It holds no state; any number of them may run."""

from __future__ import annotations

if __name__ == "__main__":
    # Imported modules stay, so garbage collection during imports is wasted: a fifth of their time.
    import gc

    gc.disable()

import argparse
import asyncio
import logging
import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from socket import socket
from types import FrameType

import uvicorn
import uvloop
from typing_extensions import override

from api.app import create_app
from api.auth.api_key_cache import ApiKeyCache, ClusterCache
from api.auth.audit_writer import AuditWriter
from api.auth.auth_function import AuthFunction
from api.auth.custom_auth import CustomAuth
from api.auth.rate_limits import RateLimiter
from api.context import ApiServices
from api.dispatch.dispatcher import CallDispatcher
from api.dispatch.liveness import WorkerLiveness
from api.http.protocol import Connection
from api.keys import ensure
from orchestrator.operations.calls import CallOperations
from orchestrator.operations.crash_recovery import CrashRecovery
from orchestrator.operations.runs import Operations
from orchestrator.operations.webhooks import Webhooks
from orchestrator.runtime.encryption import FieldCipher
from orchestrator.runtime.logs import configure_logging
from orchestrator.runtime.process import MisconfiguredError, collect_garbage_again, run_to_the_end
from orchestrator.settings import Settings, read_settings
from orchestrator.store.migrations.runner import NewerDatabaseError
from orchestrator.store.store import open_store
from orchestrator.temporal.activity_tasks import ActivityTaskClient
from orchestrator.temporal.client import Temporal
from orchestrator.temporal.in_flight_journal import InFlightJournal, journal_scope
from orchestrator.temporal.signals import WakeupSender

_log = logging.getLogger("api")
_GRACE_SECONDS = 5
"""Seconds that requests may take after the process is asked to end. Long polls and streams end at once."""
_POLLS_RUN_OUT_SECONDS = 6.0
"""Seconds for which calls in transit from Temporal are still received, to be returned at once: as long as a poll lasts
at a server that cannot end it before."""
_KEEP_ALIVE_SECONDS = 75


class ApiServer(uvicorn.Server):
    """Ends long polls when the process begins to shut down. Uvicorn would first wait for open connections."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping
        self.ended_by: int | None = None

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Keeps Uvicorn from raising the signal again after serving, which would end the process before its services are closed."""
        super().handle_exit(sig, frame)
        self._captured_signals.clear()
        self.ended_by = sig

    @override
    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        self._stopping.set()
        await super().shutdown(sockets)


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncGenerator[ApiServices]:
    """Open the services of the API. Temporal is connected when it is first needed."""
    async with AsyncExitStack() as stack:
        store = await open_store(
            settings.store_url,
            listen_url=settings.database_listen_url,
            cipher=FieldCipher.from_key(settings.payload_key),
            plain_sql=settings.plain_sql,
        )
        stack.push_async_callback(store.aclose)
        temporal = Temporal(settings)
        wakeups = WakeupSender(temporal)
        stack.push_async_callback(wakeups.aclose)
        store.database.on_wakeups = wakeups.send
        operations = Operations(store, temporal, settings)
        journal = InFlightJournal.from_settings(settings)
        queue = ActivityTaskClient(temporal, identity=journal.process)
        stack.callback(journal.close)
        dispatcher = CallDispatcher(queue, store.calls, journal)
        stack.push_async_callback(_close_dispatcher, dispatcher)
        lost = CrashRecovery(
            settings.task_folder, journal_scope(settings), queue, store.lost_leases
        )
        await stack.enter_async_context(_recovering(lost))
        custom_auth = CustomAuth(AuthFunction(store, operations).authenticate)
        stack.push_async_callback(custom_auth.aclose)
        audit_writer = AuditWriter(store.audit)
        stack.push_async_callback(audit_writer.aclose)
        yield ApiServices(
            settings=settings,
            store=store,
            temporal=temporal,
            operations=operations,
            calls=CallOperations(store, queue, temporal, journal),
            dispatcher=dispatcher,
            liveness=WorkerLiveness(store.functions),
            key_cache=ApiKeyCache(store.keys),
            cluster_cache=ClusterCache(store.clusters),
            custom_auth=custom_auth,
            rate_limiter=RateLimiter(
                per_second=settings.max_requests_per_second,
                max_concurrent=settings.max_concurrent_requests,
            ),
            audit_writer=audit_writer,
            webhooks=Webhooks(store, settings),
        )


@asynccontextmanager
async def _recovering(lost: CrashRecovery) -> AsyncGenerator[None]:
    recovery = asyncio.create_task(lost.run())
    try:
        yield
    finally:
        recovery.cancel()
        await asyncio.gather(recovery, return_exceptions=True)


async def _close_dispatcher(dispatcher: CallDispatcher) -> None:
    try:
        await asyncio.wait_for(dispatcher.aclose(), _POLLS_RUN_OUT_SECONDS)
    except TimeoutError:
        _log.debug("polls at Temporal stay open; the server ends them")


async def serve(settings: Settings, key_file: Path | None = None) -> int | None:
    """Serve until SIGTERM or SIGINT, which is returned. Then requests end, long polls and streams at once.

    First ensure that `key_file` holds a key. Raises `MisconfiguredError`.
    """
    async with AsyncExitStack() as opened:
        try:
            services = await opened.enter_async_context(open_services(settings))
        except (NewerDatabaseError, ValueError) as error:
            raise MisconfiguredError(str(error)) from error
        if key_file is not None:
            await ensure(services.store, "default", "dev", key_file)
        server = ApiServer(_server_config(services), services.stopping)
        collect_garbage_again()
        await server.serve()
        return server.ended_by


def _server_config(services: ApiServices) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(services),
        host=services.settings.host,
        port=services.settings.port,
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        http=Connection,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument(
        "--ensure-key",
        type=Path,
        metavar="FILE",
        help="first ensure that the file holds a key of the cluster `default`, with all scopes",
    )
    return parser


def main() -> None:
    """Run the process. After everything is closed, it ends by the signal that it received."""
    key_file = _parser().parse_args().ensure_key
    settings = read_settings()
    configure_logging("api", level=settings.log_level, log_format=settings.log_format)
    ended_by = uvloop.run(serve(settings, key_file))
    if ended_by is not None:
        signal.signal(ended_by, signal.SIG_DFL)
        signal.raise_signal(ended_by)


if __name__ == "__main__":
    run_to_the_end(main)
