"""The API over the real store; Temporal is away, which the API must stand."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import uvicorn

from api.__main__ import ApiServer, open_services
from api.app import create_app
from api.dependencies import ApiServices
from orchestrator.settings import Settings
from tests.api.dialects.inferable.client import MACHINE, SDK

NOBODY = "127.0.0.1:1"
"""An address where nothing listens."""


@pytest.fixture
def settings(tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    path = tmp_path / "perdure.db"
    shutil.copyfile(request.getfixturevalue("_sqlite_template"), path)
    return Settings(
        database_url=f"sqlite:///{path}",
        temporal_address=NOBODY,
        max_wait_seconds=1,
        default_model="scripted/inline",
    )


@pytest.fixture
async def services(settings: Settings) -> AsyncGenerator[ApiServices]:
    async with open_services(settings) as opened:
        yield opened


@pytest.fixture
async def cluster(services: ApiServices) -> str:
    return await services.store.keys.ensure_cluster("default")


@pytest.fixture
async def key(services: ApiServices, cluster: str) -> str:
    _, key = await services.store.keys.create(cluster, "tests")
    return key


@pytest.fixture
async def client(services: ApiServices, key: str) -> AsyncGenerator[httpx2.AsyncClient]:
    """The application itself, without a socket."""
    transport = httpx2.ASGITransport(create_app(services), raise_app_exceptions=False)
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://api", headers={"Authorization": f"Bearer {key}"}
    ) as client:
        yield client


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


@pytest.fixture
async def url(services: ApiServices) -> AsyncGenerator[str]:
    """The address of a real server of the API."""
    async with serving(create_app(services), services.stopping) as (url, _):
        yield url


@pytest.fixture
async def real(url: str, key: str) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client of the real server."""
    async with httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}) as real:
        yield real


@pytest.fixture
def new_run(client: httpx2.AsyncClient, cluster: str) -> Callable[..., object]:
    """Create a run and return its id."""

    async def create(**fields: object) -> str:
        body = {"initialPrompt": "[]", **fields}
        response = await client.post(f"/clusters/{cluster}/runs", json=body)
        assert response.status_code == 201, response.text
        run_id: str = response.json()["id"]
        return run_id

    return create


@pytest.fixture
def runs(cluster: str) -> str:
    """The path of the cluster's runs."""
    return f"/clusters/{cluster}/runs"


@pytest.fixture
async def theirs(services: ApiServices, key: str) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client that speaks as the Inferable SDK for Node does."""
    transport = httpx2.ASGITransport(create_app(services), raise_app_exceptions=False)
    headers = {"authorization": key, "x-machine-id": MACHINE, **SDK}
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://api", headers=headers
    ) as client:
        yield client
