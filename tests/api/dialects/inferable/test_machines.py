"""Function workers of the Inferable clients: they register, ask for calls, answer; and send no heartbeats."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from api.dependencies import ApiServices
from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from tests.api.dialects.inferable.client import MACHINE, QUERY, SDK, register

PENDING_POLL = {"service": "sales", "status": "pending", "acknowledge": "true", "limit": "10"}


async def test_a_service_is_registered_and_listed_in_their_form(
    theirs: httpx2.AsyncClient, cluster: str
) -> None:
    assert (await theirs.post("/machines", json={})).json() == {"clusterId": cluster}
    registered = await register(theirs, QUERY, {"name": "other"})
    assert (registered.status_code, registered.json()) == (200, {"clusterId": cluster})
    (service,) = (await theirs.get(f"/clusters/{cluster}/services")).json()
    other, query = sorted(service["functions"], key=lambda function: str(function["name"]))
    assert service["name"] == "sales"
    assert "schema" not in other
    assert query["schema"] == '{"type": "object", "properties": {"sql": {"type": "string"}}}'
    assert query["config"]["timeoutSeconds"] == 7


@pytest.mark.parametrize(
    ("config", "heard"),
    [
        ({"timeoutSeconds": 0, "retryCountOnStall": 0}, {}),
        ({"timeoutSeconds": 10**9, "retryCountOnStall": 1.5}, {"timeoutSeconds": 86_400}),
        ({"retryCountOnStall": 10**6, "private": None}, {"retryCountOnStall": 100}),
        ({"private": True}, {"private": True}),
    ],
    ids=str,
)
async def test_numbers_of_a_configuration_are_brought_within_our_limits(
    theirs: httpx2.AsyncClient, cluster: str, config: dict[str, Any], heard: dict[str, Any]
) -> None:
    assert (await register(theirs, {**QUERY, "config": config})).status_code == 200
    (service,) = (await theirs.get(f"/clusters/{cluster}/services")).json()
    assert heard.items() <= service["functions"][0]["config"].items()


@pytest.mark.parametrize(
    "function",
    [{"name": "no spaces"}, {"name": "f", "schema": "{not json"}, {"description": "x"}],
    ids=str,
)
async def test_a_wrong_registration_is_a_400(
    theirs: httpx2.AsyncClient, function: dict[str, Any]
) -> None:
    assert (await register(theirs, function)).status_code == 400


async def test_their_machines_are_not_expected_to_send_heartbeats(
    theirs: httpx2.AsyncClient, client: httpx2.AsyncClient, services: ApiServices, cluster: str
) -> None:
    await register(theirs, QUERY)
    (known,) = await services.store.functions.all_of(cluster)
    assert known.heartbeats is False
    body = {"service": "sales", "functions": [{"name": "query"}, {"name": "ours"}]}
    ours = await client.post("/machines", json=body, headers={"x-machine-id": "ours"})
    assert ours.status_code == 200
    known = {
        record.name: record.heartbeats for record in await services.store.functions.all_of(cluster)
    }
    assert known == {"query": False, "ours": True}, "a machine of theirs may get a call of query"


@pytest.mark.max_wait_seconds(1)
async def test_a_question_for_calls_is_held_and_says_to_ask_again_at_once(
    theirs: httpx2.AsyncClient, cluster: str
) -> None:
    await register(theirs, QUERY)
    started = time.perf_counter()
    first = await theirs.get(f"/clusters/{cluster}/calls", params=PENDING_POLL)
    assert time.perf_counter() - started < 0.5, "without an answer it would wait ten seconds"
    assert first.headers["retry-after"] == "0"
    started = time.perf_counter()
    response = await theirs.get(f"/clusters/{cluster}/calls", params=PENDING_POLL)
    assert time.perf_counter() - started >= 0.9, "as long as the settings of tests allow"
    assert (response.status_code, response.json()) == (200, [])
    assert response.headers["retry-after"] == "0"


async def test_an_unknown_service_is_410_and_whoever_asks_pauses_before_asking_again(
    theirs: httpx2.AsyncClient, cluster: str
) -> None:
    response = await theirs.get(f"/clusters/{cluster}/calls", params=PENDING_POLL)
    assert response.status_code == 410
    assert response.json()["message"].startswith("This machine has not registered")
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("changed", "status", "body"),
    [
        ({"status": "running"}, 200, "[]"),
        ({"status": "finished"}, 400, "queryParameterErrors"),
        ({"acknowledge": ""}, 400, "acknowledge=true"),
        ({"limit": "21"}, 400, "too_big"),
        ({"limit": "0"}, 400, "too_small"),
        ({"service": ""}, 400, "queryParameterErrors"),
    ],
    ids=str,
)
async def test_a_question_for_calls_is_checked(
    theirs: httpx2.AsyncClient, cluster: str, changed: dict[str, str], status: int, body: str
) -> None:
    await register(theirs, QUERY)
    response = await theirs.get(f"/clusters/{cluster}/calls", params=PENDING_POLL | changed)
    assert response.status_code == status
    assert body in response.text
    assert response.headers["retry-after"] == "1"


async def test_a_result_for_an_unknown_call_is_a_404(
    theirs: httpx2.AsyncClient, cluster: str
) -> None:
    body = {"resultType": "resolution", "meta": {"functionExecutionTime": 1}, "more": 1}
    response = await theirs.post(f"/clusters/{cluster}/calls/nobodys/result", json=body)
    assert response.status_code == 404
    assert response.json()["message"] == "There is no call 'nobodys'."


async def _alive_for(services: ApiServices) -> float:
    """Seconds that the only machine is believed to be there."""
    async with services.store.database.read() as read:
        until = (await read.execute(select(tables.machines.c.alive_until))).scalar_one()
    return (until - now_ms()) / 1000


async def test_a_machine_that_holds_a_call_is_there_until_its_timeout_whatever_it_asks_meanwhile(
    theirs: httpx2.AsyncClient, services: ApiServices, cluster: str
) -> None:
    await register(theirs, QUERY)
    await services.liveness.extend(cluster, MACHINE, heartbeats=False, seconds=300)
    await theirs.get(f"/clusters/{cluster}/calls", params=PENDING_POLL)
    assert await _alive_for(services) > 290


@pytest.mark.max_wait_seconds(1)
async def test_a_machine_is_there_as_long_as_one_of_its_services_asks(
    real: httpx2.AsyncClient, services: ApiServices, cluster: str
) -> None:
    real.headers.update({"x-machine-id": MACHINE, **SDK})
    for service in ("sales", "orders"):
        await real.post("/machines", json={"service": service, "functions": [{"name": service}]})
    await services.liveness.touch(cluster, MACHINE, heartbeats=False, seconds=60)
    first, second = [
        asyncio.create_task(real.get(f"/clusters/{cluster}/calls", params=PENDING_POLL | asked))
        for asked in ({"service": "sales"}, {"service": "orders"})
    ]
    await asyncio.wait({first, second}, timeout=0.3)
    first.cancel()
    await asyncio.wait({first, second}, timeout=0.3)
    assert not second.done()
    assert await _alive_for(services) > 0
    second.cancel()
    async with asyncio.timeout(5):
        while await _alive_for(services) > 0:  # noqa: ASYNC110 - in the store
            await asyncio.sleep(0.02)
