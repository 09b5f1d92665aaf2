"""The real API in the test's own process, over a SQLite store. Nothing answers at Temporal's address.

A `conftest.py` imports the fixtures that its folder uses.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from api.__main__ import ApiServer, open_services
from api.app import create_app
from api.context import ApiServices
from orchestrator.settings import Settings
from tests.support.stage import Stage

NOBODY = "127.0.0.1:1"
"""An address where nothing listens."""


def settings_over(template: Path, folder: Path, **changes: Any) -> Settings:
    """Settings of an API over a copy of the migrated database; long polls last at most 0.4 s."""
    path = folder / "perdure.db"
    shutil.copyfile(template, path)
    plain: dict[str, Any] = {
        "database_url": f"sqlite:///{path}",
        "temporal_address": NOBODY,
        "max_wait_seconds": 0.4,
        "default_model": "scripted/inline",
    }
    return Settings(**plain | changes)


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path: Path, sqlite_template: Path) -> Settings:
    """The marker `max_wait_seconds(1)` makes long polls last longer, for a test that tells held from answered at once."""
    marker = request.node.get_closest_marker("max_wait_seconds")
    changes = {} if marker is None else {"max_wait_seconds": marker.args[0]}
    return settings_over(sqlite_template, tmp_path, **changes)


@pytest.fixture
async def services(settings: Settings) -> AsyncGenerator[ApiServices]:
    async with open_services(settings) as opened:
        yield opened


@pytest.fixture
async def cluster(services: ApiServices) -> str:
    return await services.store.keys.ensure_cluster("default")


@pytest.fixture
async def key(services: ApiServices, cluster: str) -> str:
    """A key with the scopes that a key has by default."""
    _, key = await services.store.keys.create(cluster, "tests")
    return key


@pytest.fixture
def transport(services: ApiServices) -> httpx2.ASGITransport:
    """The application without a socket."""
    return httpx2.ASGITransport(create_app(services), raise_app_exceptions=False)


@pytest.fixture
def stage(services: ApiServices, cluster: str) -> Stage:
    """The store of the API, in which the test plays what the workflow, the models and the machines do."""
    return Stage(services.store, cluster)


@asynccontextmanager
async def serving(app: object, stopping: asyncio.Event) -> AsyncGenerator[tuple[str, ApiServer]]:
    """A real server on a free port, for what only a socket shows."""
    config = uvicorn.Config(app, port=0, lifespan="off", log_config=None)  # type: ignore[arg-type]
    config.timeout_graceful_shutdown = 5
    server = ApiServer(config, stopping)
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - uvicorn offers nothing to wait for
            await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", server
    finally:
        server.should_exit = True
        await task
