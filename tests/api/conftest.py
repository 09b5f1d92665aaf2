"""The API over the real store; Temporal is away, which the API must stand."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

import httpx2
import pytest

from api.app import create_app
from api.dependencies import ApiServices
from tests.api.dialects.inferable.client import MACHINE, SDK
from tests.support.api_app import cluster, key, services, serving, settings, stage, transport

__all__ = ["cluster", "key", "services", "settings", "stage", "transport"]


@pytest.fixture
async def client(transport: httpx2.ASGITransport, key: str) -> AsyncGenerator[httpx2.AsyncClient]:
    """The application itself, without a socket."""
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://api", headers={"Authorization": f"Bearer {key}"}
    ) as client:
        yield client


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
async def theirs(transport: httpx2.ASGITransport, key: str) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client that speaks as the Inferable SDK for Node does."""
    headers = {"authorization": key, "x-machine-id": MACHINE, **SDK}
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://api", headers=headers
    ) as client:
        yield client
