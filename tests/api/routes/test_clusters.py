"""Clusters and their keys over HTTP, machines, notes, events, usage; and what the server says of itself."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from api.app import create_app
from api.auth.api_key_cache import KEY_CACHE_SECONDS, ApiKeyCache, ClusterCache
from api.context import ApiServices
from perdure.contract import Scope
from tests.support.stage import Stage, text_of
from tests.support.tenants import key_with

Client = httpx2.AsyncClient


@pytest.fixture
async def manager(services: ApiServices, cluster: str) -> dict[str, str]:
    """The headers of somebody who manages clusters, and is nothing else."""
    return {"Authorization": await key_with(services, cluster, Scope.MANAGEMENT)}


async def test_a_cluster_is_made_listed_changed_and_deleted(
    client: Client, manager: dict[str, str], cluster: str
) -> None:
    body = {"name": "sales", "description": "x"}
    made = await client.post("/clusters", json=body, headers=manager)
    assert made.status_code == 201
    sales = made.json()["id"]
    assert (made.json()["name"], made.json()["enableCustomAuth"]) == ("sales", False)
    again = await client.post("/clusters", json=body, headers=manager)
    assert (again.status_code, again.json()["code"]) == (409, "cluster_name_taken")
    first = await client.get("/clusters", params={"limit": 1}, headers=manager)
    rest = await client.get(
        "/clusters", params={"cursor": first.json()["nextCursor"]}, headers=manager
    )
    assert [one["id"] for page in (first, rest) for one in page.json()["items"]] == [cluster, sales]
    changes = {"description": None, "additionalContext": "In euros.", "debug": True}
    changed = await client.put(f"/clusters/{sales}", json=changes, headers=manager)
    assert changed.status_code == 200
    assert changed.json() | changes == changed.json()
    assert changed.json()["name"] == "sales"
    versions = await client.get(f"/clusters/{sales}/context-versions", headers=manager)
    assert [(one["version"], one["content"]) for one in versions.json()["items"]] == [
        (1, "In euros.")
    ]
    assert (await client.get(f"/clusters/{sales}", headers=manager)).json() == changed.json()
    assert (await client.delete(f"/clusters/{sales}", headers=manager)).status_code == 204
    listed = await client.get("/clusters", headers=manager)
    assert [one["id"] for one in listed.json()["items"]] == [cluster]


@pytest.mark.parametrize("field", ["name", "debug", "enableCustomAuth"])
async def test_what_cannot_be_empty_cannot_be_null(
    client: Client, cluster: str, field: str
) -> None:
    answer = await client.put(f"/clusters/{cluster}", json={field: None})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == f"/{field}"


async def test_a_key_is_shown_once_and_does_what_it_was_given(
    client: Client, cluster: str, key: str
) -> None:
    keys = f"/clusters/{cluster}/api-keys"
    made = await client.post(keys, json={"name": "workers", "scopes": ["machine"]})
    assert made.status_code == 201
    secret = made.json().pop("key")
    assert re.fullmatch(r"tests \w{10}", made.json()["createdBy"])
    headers = {"Authorization": f"Bearer {secret}"}
    assert (await client.get("/me", headers=headers)).json()["scopes"] == ["machine"]
    assert (await client.get(keys, headers=headers)).status_code == 403
    listed = await client.get(keys)
    assert [one["name"] for one in listed.json()["items"]] == ["tests", "workers"]
    assert secret not in listed.text
    first = await client.get(keys, params={"limit": 1})
    rest = await client.get(keys, params={"cursor": first.json()["nextCursor"]})
    assert [one["name"] for one in rest.json()["items"]] == ["workers"]
    assert (await client.delete(f"{keys}/{made.json()['id']}")).status_code == 204
    (_, revoked) = (await client.get(keys)).json()["items"]
    assert revoked["revokedAt"] is not None


async def test_a_revoked_key_and_one_of_a_deleted_cluster_stop_within_seconds(
    client: Client, services: ApiServices, cluster: str, manager: dict[str, str]
) -> None:
    now = 50.0
    keys = ApiKeyCache(services.store.keys, clock=lambda: now)
    clusters = ClusterCache(services.store.clusters, clock=lambda: now)
    made = await client.post(f"/clusters/{cluster}/api-keys", json={"name": "short"})
    other = (await client.post("/clusters", json={}, headers=manager)).json()["id"]
    theirs = await client.post(
        f"/clusters/{other}/api-keys", json={"name": "theirs"}, headers=manager
    )
    secrets = [made.json()["key"], theirs.json()["key"]]
    assert all([await keys.identify(secret) for secret in secrets])
    assert await clusters.find(other) is not None
    await client.delete(f"/clusters/{cluster}/api-keys/{made.json()['id']}")
    await client.delete(f"/clusters/{other}", headers=manager)
    now += KEY_CACHE_SECONDS + 0.01
    assert [await keys.identify(secret) for secret in secrets] == [None, None]
    assert await clusters.find(other) is None


async def test_no_key_gives_what_it_lacks(
    client: Client, services: ApiServices, cluster: str
) -> None:
    headers = {"Authorization": await key_with(services, cluster, Scope.ADMIN)}
    keys = f"/clusters/{cluster}/api-keys"
    for scope in ("client", "machine", "management"):
        body = {"name": "x", "scopes": ["admin", scope]}
        refused = await client.post(keys, json=body, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert f"`{scope}`" in refused.json()["detail"]
    plain = await client.post(keys, json={"name": "x"}, headers=headers)
    assert plain.json()["scopes"] == ["admin"]


async def test_management_gives_a_new_cluster_its_first_keys(
    client: Client, manager: dict[str, str]
) -> None:
    cluster = (await client.post("/clusters", json={}, headers=manager)).json()["id"]
    keys = f"/clusters/{cluster}/api-keys"
    made = await client.post(keys, json={"name": "all"}, headers=manager)
    assert made.json()["scopes"] == ["admin", "client", "machine"]
    me = await client.get("/me", headers={"Authorization": f"Bearer {made.json()['key']}"})
    assert me.json()["clusterId"] == cluster
    body = {"name": "x", "scopes": ["management"]}
    assert (await client.post(keys, json=body, headers=manager)).status_code == 403


async def test_a_machine_is_listed_with_its_address_and_client(
    client: Client, cluster: str, services: ApiServices
) -> None:
    headers = {"x-machine-id": "m1", "User-Agent": "perdure-python/9", "x-forwarded-for": "6.6.6.6"}
    body = {"service": "sales", "functions": [{"name": "query"}]}
    await client.post("/machines", json=body, headers=headers)
    await client.get(f"/clusters/{cluster}/calls", params={"service": "sales"}, headers=headers)
    listed = await client.get(f"/clusters/{cluster}/machines", params={"status": "active"})
    (machine,) = listed.json()["items"]
    assert (machine["id"], machine["status"]) == ("m1", "active")
    assert (machine["ip"], machine["sdk"]) == ("127.0.0.1", "perdure-python/9")
    assert machine["lastPingAt"] is not None
    await services.store.functions.touch(cluster, "m2", heartbeats=True, alive_until=1)
    first = await client.get(f"/clusters/{cluster}/machines", params={"limit": 1})
    assert [one["status"] for one in first.json()["items"]] == ["inactive"]
    rest = await client.get(
        f"/clusters/{cluster}/machines", params={"cursor": first.json()["nextCursor"]}
    )
    assert [one["id"] for one in rest.json()["items"]] == ["m1"]


async def test_only_a_proxy_that_is_trusted_is_believed_about_addresses(
    services: ApiServices, cluster: str, key: str
) -> None:
    settings = services.settings.model_copy(update={"trust_forwarded": True})
    transport = httpx2.ASGITransport(create_app(replace(services, settings=settings)))
    headers = {
        "Authorization": f"Bearer {key}",
        "x-machine-id": "m1",
        "x-forwarded-for": "6.6.6.6, 7",
    }
    async with Client(transport=transport, base_url="http://api", headers=headers) as client:
        await client.post("/machines", json={"service": "s", "functions": [{"name": "f"}]})
        await client.get(f"/clusters/{cluster}/calls", params={"service": "s"})
        listed = await client.get(f"/clusters/{cluster}/machines")
    assert [machine["ip"] for machine in listed.json()["items"]] == ["6.6.6.6"]


async def test_a_note_on_a_function_is_stored(client: Client, cluster: str) -> None:
    path = f"/clusters/{cluster}/sales/query/metadata"
    assert (await client.get(path)).status_code == 404
    assert (await client.put(path, json={"additionalContext": "In cents."})).status_code == 204
    assert (await client.get(path)).json()["additionalContext"] == "In cents."
    assert (await client.delete(path)).status_code == 204
    assert (await client.delete(path)).status_code == 404


async def test_events_of_all_runs_are_paged_and_filtered(
    client: Client, cluster: str, stage: Stage
) -> None:
    first, second = await stage.finished(), await stage.finished()
    path = f"/clusters/{cluster}/events"
    seen: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await client.get(path, params={"limit": 3, **cursor})).json()
        seen += page["items"]
        if page["nextCursor"] is None:
            break
        cursor = {"cursor": page["nextCursor"]}
    assert {event["runId"] for event in seen} == {first.run_id, second.run_id}
    assert len({(event["runId"], event["version"]) for event in seen}) == len(seen)
    created = await client.get(path, params={"type": "run.created", "runId": first.run_id})
    assert [event["runId"] for event in created.json()["items"]] == [first.run_id]
    assert (await client.get(path, params={"limit": 101})).status_code == 422


async def test_usage_is_listed_per_day_and_model(
    client: Client, cluster: str, stage: Stage
) -> None:
    await stage.think(await stage.run(), text_of("x"))
    answer = await client.get(f"/clusters/{cluster}/usage", params={"days": 1})
    (usage,) = answer.json()["items"]
    assert (usage["model"], usage["modelCalls"], usage["runs"]) == ("scripted/inline", 1, 1)
    assert (usage["inputTokens"], usage["outputTokens"], usage["costUsd"]) == (10, 5, 0)


async def test_the_document_is_open_to_all(client: Client) -> None:
    del client.headers["Authorization"]
    document = await client.get("/public/oas.json")
    assert document.json()["openapi"].startswith("3.1.")
    contract = (await client.get("/contract")).json()["contract"]
    assert '"operationId": "create_run"' in contract


@pytest.mark.parametrize("cursor", ["!", "WzFd", "WyJhXHUwMDAwIl0", "W10", "MS4y", "W1siYSJdXQ"])
async def test_a_cursor_that_no_list_gave_is_refused(
    client: Client, cluster: str, cursor: str
) -> None:
    answer = await client.get(f"/clusters/{cluster}/api-keys", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")
