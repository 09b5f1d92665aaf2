"""The real API in process, over the real store; Temporal is away, and a stage plays what it and the models would do."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx2
import pytest

from api.__main__ import open_services
from api.app import create_app
from api.context import ApiServices
from orchestrator.settings import Settings
from perdure import AsyncPerdure, Scope
from tests.support.stage import Stage

NOBODY = "127.0.0.1:1"
"""An address where nothing listens."""


@pytest.fixture
def settings(tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """Questions are held for a second, or as long as the test's parameter says."""
    path = tmp_path / "perdure.db"
    shutil.copyfile(request.getfixturevalue("_sqlite_template"), path)
    return Settings(
        database_url=f"sqlite:///{path}",
        temporal_address=NOBODY,
        max_wait_seconds=getattr(request, "param", 1),
        default_model="scripted/inline",
        webhook_allowed_networks="127.0.0.0/8",
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
    _, key = await services.store.keys.create(cluster, "tests", scopes=Scope)
    return key


@pytest.fixture
def transport(services: ApiServices) -> httpx2.ASGITransport:
    return httpx2.ASGITransport(create_app(services), raise_app_exceptions=False)


@pytest.fixture
async def client(transport: httpx2.ASGITransport, key: str) -> AsyncGenerator[AsyncPerdure]:
    async with AsyncPerdure("http://api", key, transport=transport) as opened:
        yield opened


@pytest.fixture
def stage(services: ApiServices, cluster: str) -> Stage:
    return Stage(services.store, cluster)
