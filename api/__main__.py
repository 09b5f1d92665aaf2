"""An API process: `python -m api`. It holds no state; any number of them may run."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from socket import socket

import uvicorn
import uvloop
from typing_extensions import override

from api.app import create_app
from api.call_door import CallDoor
from api.deps import ApiServices, Keyring
from api.presence import Presence
from orchestrator.call_operations import CallOperations
from orchestrator.call_queue import CallQueue
from orchestrator.logs import configure_logging
from orchestrator.operations import Operations
from orchestrator.settings import Settings
from orchestrator.store.store import open_store
from orchestrator.temporal import Temporal

_log = logging.getLogger("api")
_GRACE_SECONDS = 5
"""How long requests may still take when the process is asked to end. Long polls and streams end at once."""
_POLLS_RUN_OUT_SECONDS = 3.0
"""How long calls that are on their way from Temporal are still taken, to be given back at once."""
_KEEP_ALIVE_SECONDS = 75
_HEAD_BYTES = 256 * 1024
"""Of a request's line and headers: the longest question for metadata fits."""


class ApiServer(uvicorn.Server):
    """Uvicorn waits for open connections before it tells the application to end: too late for long polls."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    @override
    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        self._stopping.set()
        await super().shutdown(sockets)


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncGenerator[ApiServices]:
    """Everything the API stands on, by the settings. Temporal is reached for when it is first needed."""
    async with AsyncExitStack() as stack:
        store = await open_store(settings.store_url, listen_url=settings.database_listen_url)
        stack.push_async_callback(store.aclose)
        temporal = Temporal(settings)
        operations = Operations(store, temporal, settings)
        stack.push_async_callback(operations.aclose)
        queue = CallQueue(temporal, identity=f"api-{platform.node()}-{os.getpid()}")
        door = CallDoor(queue, store.calls)
        stack.push_async_callback(_close_door, door)
        yield ApiServices(
            settings=settings,
            store=store,
            temporal=temporal,
            operations=operations,
            calls=CallOperations(store, queue, temporal),
            door=door,
            presence=Presence(store.functions),
            keyring=Keyring(store.keys),
        )


async def _close_door(door: CallDoor) -> None:
    try:
        await asyncio.wait_for(door.aclose(), _POLLS_RUN_OUT_SECONDS)
    except TimeoutError:
        _log.debug("polls at Temporal are left open; the server ends them")


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; then requests end, long polls and streams at once."""
    async with open_services(settings) as services:
        config = uvicorn.Config(
            create_app(services),
            host=settings.host,
            port=settings.port,
            lifespan="off",
            access_log=False,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=_HEAD_BYTES,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        await ApiServer(config, services.stopping).serve()


def main() -> None:
    """Run the process. Ends by the signal that it was sent."""
    settings = Settings()
    configure_logging(settings, "api")
    uvloop.run(serve(settings))


if __name__ == "__main__":
    main()
