"""The store goes away under a running API, and the API says so instead of failing."""

from __future__ import annotations

import httpx2

from api.__main__ import open_services
from api.app import create_app
from orchestrator.settings import Settings
from tests.api.dialects.inferable.client import SDK
from tests.support.databases import PostgresServer


async def test_a_store_that_is_away_is_a_503_that_invites_a_retry(
    postgres_server: PostgresServer,
) -> None:
    database = postgres_server.create()
    settings = Settings(
        database_url=postgres_server.url(database),
        temporal_address="127.0.0.1:1",
        max_wait_seconds=1,
    )
    async with open_services(settings) as services:
        cluster_id = await services.store.keys.ensure_cluster("default")
        _, key = await services.store.keys.create(cluster_id, "tests")
        transport = httpx2.ASGITransport(create_app(services), raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://api", headers=headers
        ) as client:
            path = f"/clusters/{cluster_id}/runs"
            assert (await client.get(path)).status_code == 200
            postgres_server.drop(database)
            away = await client.get(path)
            theirs = await client.get(path, headers=SDK)
    assert away.status_code == 503
    assert away.headers["retry-after"] == "1"
    assert away.json()["code"] == "unavailable"
    assert database not in away.text
    assert (theirs.status_code, theirs.headers["retry-after"]) == (503, "1")
    assert theirs.json()["error"] == {"message": away.json()["detail"]}
