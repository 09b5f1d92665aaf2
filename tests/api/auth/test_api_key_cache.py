"""Whose key it is, and what a stranger learns: nothing."""

from __future__ import annotations

import httpx2
import pytest

from api.auth.api_key_cache import KEY_CACHE_SECONDS, ApiKeyCache
from api.context import ApiServices


async def me(client: httpx2.AsyncClient, authorization: str | None) -> httpx2.Response:
    del client.headers["Authorization"]
    headers = {} if authorization is None else {"Authorization": authorization}
    return await client.get("/me", headers=headers)


@pytest.mark.parametrize("manner", ["Bearer {}", "bearer {}", "BEARER   {}", "{}"])
async def test_a_key_is_accepted_in_every_usual_form(
    client: httpx2.AsyncClient, cluster: str, key: str, manner: str
) -> None:
    response = await me(client, manner.format(key))
    assert response.json() == {
        "clusterId": cluster,
        "keyName": "tests",
        "scopes": ["admin", "client", "machine"],
    }


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Basic {}", "Bearer {} x", "Bearer sk_wrong", "{}x"],
)
async def test_anything_else_is_a_401_that_says_how(
    client: httpx2.AsyncClient, key: str, authorization: str | None
) -> None:
    response = await me(client, authorization and authorization.format(key))
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["code"] == "unauthorized"


async def test_a_foreign_cluster_looks_exactly_like_an_unknown_one(
    client: httpx2.AsyncClient, services: ApiServices
) -> None:
    foreign = await services.store.keys.ensure_cluster("foreign")
    unknown = "01UNKNOWN"
    answers = [await client.get(f"/clusters/{cluster}/runs") for cluster in (foreign, unknown)]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].text.replace(foreign, "?") == answers[1].text.replace(unknown, "?")


async def test_a_foreign_run_looks_exactly_like_an_unknown_one(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str
) -> None:
    foreign = await services.store.keys.ensure_cluster("foreign")
    _, other_key = await services.store.keys.create(foreign, "other")
    made = await client.post(
        f"/clusters/{foreign}/runs",
        json={"initialPrompt": "[]", "id": "their-run"},
        headers={"Authorization": f"Bearer {other_key}"},
    )
    assert made.status_code == 201
    for path in ("", "/events", "/messages"):
        answers = [
            await client.get(f"/clusters/{cluster}/runs/{run}{path}")
            for run in ("their-run", "nobodys")
        ]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].text.replace("their-run", "?") == answers[1].text.replace("nobodys", "?")


async def test_the_key_is_checked_before_the_body(client: httpx2.AsyncClient, cluster: str) -> None:
    response = await client.post(
        f"/clusters/{cluster}/runs", content=b"{", headers={"Authorization": "Bearer sk_wrong"}
    )
    assert response.status_code == 401
    assert (await client.post("/clusters/unknown/runs", content=b"{")).status_code == 404


async def test_a_revoked_key_stops_working_when_the_cache_is_stale(
    services: ApiServices, cluster: str
) -> None:
    record, key = await services.store.keys.create(cluster, "short-lived")
    now = 1_000.0
    keys = ApiKeyCache(services.store.keys, clock=lambda: now)
    assert await keys.identify(key) == record
    await services.store.keys.revoke(cluster, record.id)
    now += KEY_CACHE_SECONDS - 0.01
    assert await keys.identify(key) == record
    now += 0.02
    assert await keys.identify(key) is None


async def test_a_new_key_works_at_once_although_it_was_unknown_before(
    services: ApiServices, cluster: str
) -> None:
    record, key = await services.store.keys.create(cluster, "new")
    keys = ApiKeyCache(services.store.keys)
    assert await keys.identify(key + "x") is None
    assert await keys.identify(key) == record


async def test_health_needs_no_key_and_names_what_is_missing(client: httpx2.AsyncClient) -> None:
    del client.headers["Authorization"]
    assert (await client.get("/live")).json()["status"] == "ok"
    ready = await client.get("/ready")
    assert ready.status_code == 503
    assert ready.json() == {"status": "degraded", "missing": ["temporal"]}
