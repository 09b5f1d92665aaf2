"""The SDK's client over the real API, with a key that may do everything."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import httpx2
import pytest

from api.context import ApiServices
from orchestrator.settings import Settings
from perdure import AsyncPerdure, Scope
from tests.support.api_app import cluster, services, settings_over, stage, transport

__all__ = ["cluster", "services", "stage", "transport"]


@pytest.fixture
def settings(tmp_path: Path, sqlite_template: Path, request: pytest.FixtureRequest) -> Settings:
    """Long polls last at most a second, or as long as the test's parameter says."""
    return settings_over(
        sqlite_template,
        tmp_path,
        max_wait_seconds=getattr(request, "param", 1),
        webhook_allowed_networks="127.0.0.0/8",
    )


@pytest.fixture
async def key(services: ApiServices, cluster: str) -> str:
    _, key = await services.store.keys.create(cluster, "tests", scopes=Scope)
    return key


@pytest.fixture
async def client(transport: httpx2.ASGITransport, key: str) -> AsyncGenerator[AsyncPerdure]:
    async with AsyncPerdure("http://api", key, transport=transport) as opened:
        yield opened
