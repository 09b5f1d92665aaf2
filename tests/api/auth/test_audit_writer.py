"""Who changed what: every mutating operation leaves an entry, and nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx2
from sqlalchemy.exc import OperationalError
from typing_extensions import override

from api.auth.audit_writer import AuditWriter
from api.auth.scopes import SCOPES, UNAUDITED
from api.context import ApiServices
from orchestrator.store.tenants.audit_log import AuditEntry, AuditStore
from perdure.contract import Scope
from tests.support.tenants import key_with, keyed_operations


async def entries(client: httpx2.AsyncClient, cluster: str, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get(f"/clusters/{cluster}/audit", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def test_a_change_is_recorded_with_who_where_and_how_it_ended(
    client: httpx2.AsyncClient, cluster: str
) -> None:
    await client.post(f"/clusters/{cluster}/runs", json={"initialPrompt": "[]", "id": "one-run"})
    await client.post(f"/clusters/{cluster}/runs", json={})
    await client.post(f"/clusters/{cluster}/runs/one-run/cancel")
    await client.get(f"/clusters/{cluster}/runs/one-run")
    made = await client.post(f"/clusters/{cluster}/api-keys", json={"name": "x"})
    noted = await entries(client, cluster)
    assert [(one["operation"], one["target"], one["status"]) for one in noted] == [
        ("create_api_key", f"api-keys/{made.json()['id']}", 201),
        ("cancel_run", "runs/one-run/cancel", 200),
        ("create_run", "runs", 422),
        ("create_run", "runs", 201),
    ]
    assert {one["actor"].split()[0] for one in noted} == {"tests"}
    assert made.json()["key"] not in str(noted)
    first = await client.get(f"/clusters/{cluster}/audit", params={"limit": 3})
    rest = await entries(client, cluster, cursor=first.json()["nextCursor"])
    assert [one["id"] for one in [*first.json()["items"], *rest]] == [one["id"] for one in noted]


async def test_every_mutating_operation_is_recorded_allowed_or_refused(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str
) -> None:
    keys = {
        scope: await key_with(services, cluster, scope) for scope in (Scope.CLIENT, Scope.ADMIN)
    }
    for operation in keyed_operations():
        if operation.id == "delete_cluster":
            continue
        for asked, key in enumerate(keys.values(), 1):
            answer = await operation.ask(client, key, clusterId=cluster)
            noted = [
                one
                for one in await entries(client, cluster, limit=asked)
                if (one["operation"], one["status"]) == (operation.id, answer.status_code)
            ]
            expected = operation.method != "GET" and operation.id not in UNAUDITED
            assert bool(noted) == expected, operation
    assert {"create_run", "create_api_key"} <= set(SCOPES)


async def test_a_refused_key_is_named_and_a_stranger_leaves_nothing(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str
) -> None:
    key = await key_with(services, cluster, Scope.MACHINE)
    await client.delete(f"/clusters/{cluster}", headers={"Authorization": key})
    await client.delete(f"/clusters/{cluster}", headers={"Authorization": "Bearer sk_wrong"})
    (noted,) = await entries(client, cluster)
    assert (noted["status"], noted["operation"]) == (403, "delete_cluster")
    assert noted["target"] == f"clusters/{cluster}"
    assert noted["actor"].startswith("machine ")


async def test_nobody_reads_the_trail_of_another_cluster(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str
) -> None:
    other = await services.store.keys.ensure_cluster("other")
    manager = {"Authorization": await key_with(services, cluster, Scope.MANAGEMENT)}
    await client.put(f"/clusters/{other}", json={"debug": True}, headers=manager)
    assert await entries(client, cluster) == []
    theirs = {"Authorization": await key_with(services, other, Scope.ADMIN)}
    answer = await client.get(f"/clusters/{other}/audit", headers=theirs)
    assert [one["operation"] for one in answer.json()["items"]] == ["update_cluster"]


class Away(AuditStore):
    """A store that does not answer until it is released."""

    def __init__(self) -> None:
        self.away = True
        self.calls = asyncio.Event()
        self.written: list[AuditEntry] = []
        self.done = asyncio.Event()

    @override
    async def add(self, notes: Sequence[AuditEntry]) -> None:
        self.calls.set()
        if self.away:
            raise OperationalError("", {}, Exception())
        self.written += notes
        self.done.set()


def entry(number: int) -> AuditEntry:
    return AuditEntry("c", "a", "create_run", f"runs/{number}", 201, number)


async def test_entries_wait_for_a_store_that_is_away() -> None:
    store = Away()
    trail = AuditWriter(store)
    for number in range(3):
        trail.record(entry(number))
    async with asyncio.timeout(10):
        await store.calls.wait()
        store.away = False
        await store.done.wait()
    assert [one.created_at for one in store.written] == [0, 1, 2]
    await trail.aclose()


async def test_what_is_left_is_written_at_the_end() -> None:
    store = Away()
    store.away = False
    trail = AuditWriter(store)
    for number in range(1_200):
        trail.record(entry(number))
    assert store.written == []
    await trail.aclose()
    assert [one.created_at for one in store.written] == list(range(1_200))
