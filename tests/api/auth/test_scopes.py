"""What a key may do: every operation with every scope, generated from the routes."""

from __future__ import annotations

import re

import httpx2
import pytest

from api.access import forbidden
from api.app import assemble
from api.auth.scopes import SCOPES, USER, required_scopes
from api.context import ApiServices
from perdure.contract import Scope
from tests.docs.doc_blocks import REPOSITORY
from tests.support.tenants import Operation, key_with, keyed_operations

OPERATIONS = keyed_operations()
_MEANS: dict[Scope, set[str]] = {
    Scope.MACHINE: {"machine"},
    Scope.CLIENT: {"client"},
    Scope.ADMIN: {"admin"},
    Scope.MANAGEMENT: {"management", "admin", "client"},
}


def test_every_operation_declares_its_scopes_and_nothing_else_is_declared() -> None:
    named = {operation.id for operation in OPERATIONS}
    assert "" not in named
    assert named == set(SCOPES)


def test_an_operation_that_was_forgotten_is_the_administrators() -> None:
    assert required_scopes("something_new") == {"admin"}


@pytest.mark.parametrize("scope", [*Scope])
async def test_every_operation_is_open_to_its_scopes_only(
    client: httpx2.AsyncClient, services: ApiServices, scope: Scope
) -> None:
    cluster = await services.store.keys.ensure_cluster(f"of {scope}")
    key = await key_with(services, cluster, scope)
    wrong: list[str] = []
    for operation in OPERATIONS:
        answer = await operation.ask(client, key, clusterId=cluster)
        allowed = bool(_MEANS[scope] & SCOPES[operation.id])
        refused = answer.status_code == 403 and answer.json()["code"] == "forbidden"
        if refused == allowed or answer.status_code in {401, 500}:
            wrong.append(f"{operation.id}: {answer.status_code} {answer.text[:200]}")
    assert wrong == []


async def test_a_refusal_names_the_scope_that_is_needed(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str
) -> None:
    key = await key_with(services, cluster, Scope.MACHINE)
    answer = await client.get(f"/clusters/{cluster}/runs", headers={"Authorization": key})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "the scope `client`" in answer.json()["detail"]
    body = await client.get(f"/clusters/{cluster}/services", headers={"Authorization": key})
    assert "`admin` or `client`" in body.json()["detail"]


async def test_in_inferable_mode_a_refusal_is_a_401(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str
) -> None:
    key = await key_with(services, cluster, Scope.MACHINE)
    headers = {"Authorization": key, "x-machine-sdk-version": "0.30.61"}
    answer = await client.get(f"/clusters/{cluster}/runs", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, forbidden("").code)


async def test_a_client_may_ask_where_it_is_but_register_nothing(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str
) -> None:
    key = await key_with(services, cluster, Scope.CLIENT)
    headers = {"Authorization": key, "x-machine-id": "m"}
    where = await client.post("/machines", json={}, headers=headers)
    assert where.json() == {"clusterId": cluster}
    refused = await client.post("/machines", json={"service": "s"}, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


async def test_management_is_admin_and_client_everywhere_and_a_machine_nowhere(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str
) -> None:
    other = await services.store.keys.ensure_cluster("other")
    key = await key_with(services, other, *Scope)
    for operation in OPERATIONS:
        if operation.parameters[:1] != ("clusterId",) or operation.id == "delete_cluster":
            continue
        answer = await operation.ask(client, key, clusterId=cluster)
        expected = not SCOPES[operation.id] & {"admin", "client", "management"}
        assert (answer.status_code == 403) == expected, operation
    assert (await client.get("/me", headers={"Authorization": key})).json()["clusterId"] == other


async def test_to_management_an_unknown_cluster_is_unknown(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str
) -> None:
    key = await key_with(services, cluster, Scope.MANAGEMENT)
    gone = await services.store.keys.ensure_cluster("gone")
    await services.store.clusters.delete(gone)
    for unknown in ("unknown", gone, "nul%00nul"):
        answer = await client.get(f"/clusters/{unknown}/runs", headers={"Authorization": key})
        assert answer.status_code == 404


def _documented() -> dict[str, tuple[str, set[str]]]:
    page = (REPOSITORY / "docs" / "reference" / "clusters-and-keys.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| `([A-Z]+ [^`]+)` \| ([^|]+) \|$", page, re.MULTILINE)
    return {name: (address, set(re.findall(r"\w+", scopes))) for name, address, scopes in rows}


def _described(operation: Operation) -> tuple[str, set[str]]:
    scopes = SCOPES[operation.id] - {USER}
    marked = {USER} if USER in SCOPES[operation.id] else set[str]()
    return f"{operation.method} {operation.path}", {*scopes, *marked}


def test_the_documentation_lists_what_each_operation_needs() -> None:
    expected = {operation.id: _described(operation) for operation in OPERATIONS}
    assert _documented() == expected, "run `python -m tests.api.auth.scope_table`"


def test_operations_without_a_key_are_few() -> None:
    document = assemble().openapi()
    open_to_all = {
        path
        for path, item in document["paths"].items()
        for operation in item.values()
        if "security" not in operation
    }
    assert open_to_all == {"/live", "/ready", "/public/oas.json", "/contract"}
