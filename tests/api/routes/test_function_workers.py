"""What function workers say over HTTP: register, ask for calls, answer them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx2
import pytest

from api.dependencies import ApiServices

ME = {"x-machine-id": "worker-1"}
QUERY: dict[str, Any] = {
    "name": "query",
    "description": "Query.",
    "schema": {"type": "object", "properties": {}},
}


@pytest.fixture
def calls(cluster: str) -> str:
    return f"/clusters/{cluster}/calls"


async def register(
    client: httpx2.AsyncClient, *functions: dict[str, Any], **headers: str
) -> httpx2.Response:
    body = {"service": "sales", "functions": list(functions)}
    return await client.post("/machines", json=body, headers=headers or ME)


async def described(client: httpx2.AsyncClient, cluster: str) -> dict[str, dict[str, Any]]:
    page = (await client.get(f"/clusters/{cluster}/services")).json()
    return {f["name"]: f for service in page["items"] for f in service["functions"]}


async def test_an_empty_registration_names_the_cluster(
    client: httpx2.AsyncClient, cluster: str
) -> None:
    response = await client.post("/machines", json={}, headers=ME)
    assert response.json() == {"clusterId": cluster}


async def test_a_registered_function_is_described(client: httpx2.AsyncClient, cluster: str) -> None:
    assert (await register(client, QUERY)).status_code == 200
    functions = await described(client, cluster)
    assert functions["query"]["schema"] == QUERY["schema"]
    assert functions["query"]["liveMachines"] == 1


async def test_a_registration_replaces_what_the_machine_offered(
    client: httpx2.AsyncClient, cluster: str
) -> None:
    await register(client, QUERY, {"name": "old"})
    await register(client, {"name": "new"})
    assert list(await described(client, cluster)) == ["new"]


@pytest.mark.parametrize(
    ("function", "pointer"),
    [
        ({"name": "no spaces"}, "/functions/0/name"),
        ({"name": "f", "schema": {"type": "strin"}}, "/functions/0/schema/type"),
        ({"name": "f", "schema": "{not json"}, "/functions/0/schema"),
        ({"name": "f", "schema": "[]"}, "/functions/0/schema"),
        ({"name": "f", "config": {"timeoutSeconds": 0}}, "/functions/0/config/timeoutSeconds"),
        ({"name": "f", "colour": "red"}, "/functions/0/colour"),
    ],
    ids=str,
)
async def test_a_wrong_registration_is_refused_at_its_field(
    client: httpx2.AsyncClient, function: dict[str, Any], pointer: str
) -> None:
    response = await register(client, function)
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("machine", [None, "", "x" * 257, "caf\u00e9"])
async def test_a_machine_must_say_who_it_is(
    client: httpx2.AsyncClient, machine: str | None
) -> None:
    headers = {} if machine is None else {b"x-machine-id": machine.encode()}
    response = await client.post("/machines", json={}, headers=headers)
    assert response.status_code == 422
    assert "x-machine-id" in response.json()["detail"]


async def test_a_machine_must_register_before_it_asks(
    client: httpx2.AsyncClient, calls: str
) -> None:
    unknown = await client.get(calls, params={"service": "sales"}, headers=ME)
    assert (unknown.status_code, unknown.json()["code"]) == (410, "unknown_service")
    await register(client, QUERY)
    other = await client.get(
        calls, params={"service": "sales", "functions": "query,other"}, headers=ME
    )
    assert other.status_code == 410
    assert "other" in other.json()["detail"]
    foreign = await client.get(
        calls, params={"service": "sales"}, headers={"x-machine-id": "worker-2"}
    )
    assert foreign.status_code == 410


async def test_asking_without_a_call_waits_and_answers_an_empty_list(
    client: httpx2.AsyncClient, calls: str
) -> None:
    await register(client, QUERY)
    started = time.perf_counter()
    response = await client.get(calls, params={"service": "sales", "wait": 0.3}, headers=ME)
    assert time.perf_counter() - started >= 0.3
    assert (response.status_code, response.json()) == (200, [])
    assert response.headers["retry-after"] == "0"


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"service": "no spaces"},
        {"service": "s", "limit": "0"},
        {"service": "s", "limit": "21"},
        {"service": "s", "wait": "21"},
        {"service": "s", "functions": "a,,b"},
        {"service": "s", "status": "pending"},
    ],
    ids=str,
)
async def test_a_wrong_question_for_calls_is_refused(
    client: httpx2.AsyncClient, calls: str, query: dict[str, str]
) -> None:
    assert (await client.get(calls, params=query, headers=ME)).status_code == 422


async def test_a_machine_whose_connection_closes_counts_as_gone(
    real: httpx2.AsyncClient, cluster: str, calls: str
) -> None:
    await register(real, QUERY)
    asking = asyncio.create_task(
        real.get(calls, params={"service": "sales", "wait": 20}, headers=ME)
    )
    await asyncio.wait({asking}, timeout=0.3)
    assert (await described(real, cluster))["query"]["liveMachines"] == 1
    asking.cancel()
    async with asyncio.timeout(5):
        while (await described(real, cluster))["query"]["liveMachines"]:  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(0.05)


async def test_whoever_asks_is_answered_when_the_process_is_to_end(
    real: httpx2.AsyncClient, services: ApiServices, cluster: str, calls: str
) -> None:
    await register(real, QUERY)
    asking = asyncio.create_task(
        real.get(calls, params={"service": "sales", "wait": 20}, headers=ME)
    )
    await asyncio.wait({asking}, timeout=0.3)
    services.stopping.set()
    async with asyncio.timeout(2):
        assert (await asking).json() == []
    assert (await described(real, cluster))["query"]["liveMachines"] == 1


@pytest.mark.parametrize("action", ["heartbeat", "result"])
async def test_an_unknown_call_is_a_404(
    client: httpx2.AsyncClient, calls: str, action: str
) -> None:
    body = {"resultType": "resolution"} if action == "result" else {}
    response = await client.post(f"{calls}/nobodys/{action}", json=body, headers=ME)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"resultType": "resolution", "result": "\\u0000\\ud800"}', 404),
        (
            b'{"resultType": "rejection", "result": {"message": "no"}, "attempt": 1, "meta": {}}',
            404,
        ),
        (b'{"resultType": "interrupt"}', 404),
        (b'{"resultType": "applause"}', 422),
        (b'{"result": 1}', 422),
        (b'{"resultType": "resolution", "result": 1e999}', 422),
        (b'{"resultType": "resolution", "result": NaN}', 400),
        (b'{"resultType": "resolution", "result": "' + b"x" * 17_000_000 + b'"}', 413),
    ],
    ids=lambda case: str(case)[:60],
)
async def test_a_result_is_accepted_or_rejected_by_its_form(
    client: httpx2.AsyncClient, calls: str, body: bytes, status: int
) -> None:
    response = await client.post(
        f"{calls}/nobodys/result", content=body, headers={**ME, "Content-Type": "application/json"}
    )
    assert response.status_code == status
