"""What happens to a call's result that is posted twice, late, or by somebody else: spoken in plain HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx2
import pytest
from pydantic import JsonValue

from tests.support.running_stack import World

pytestmark = pytest.mark.timeout(60)
DEFINITION: dict[str, JsonValue] = {
    "service": "plain",
    "functions": [
        {"name": "add", "schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}
    ],
}


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the API, and a machine called m1 that offers `plain.add`."""
    headers = {"authorization": f"Bearer {world.api_key}", "x-machine-id": "m1"}
    async with httpx2.AsyncClient(base_url=world.url, headers=headers, timeout=40) as client:
        answer = await client.post("/machines", json=DEFINITION)
        assert answer.json() == {"clusterId": world.cluster_id}
        yield client


async def called(http: httpx2.AsyncClient, cluster: str) -> tuple[str, dict[str, JsonValue]]:
    """A run that has called the function, and the call as it was handed out."""
    script = [{"calls": [{"function": "plain_add", "input": {"a": 1}}]}, {"text": "end"}]
    body = {"initialPrompt": json.dumps(script), "model": "scripted/inline", "context": {"user": 7}}
    run = (await http.post(f"/clusters/{cluster}/runs", json=body)).json()["id"]
    answer = await http.get(
        f"/clusters/{cluster}/calls", params={"service": "plain", "limit": 1, "wait": 20}
    )
    assert answer.headers["retry-after"] == "0"
    (call,) = answer.json()
    assert call["runId"] == run
    assert call["runContext"] == {"user": 7}
    return run, call


async def status_of(http: httpx2.AsyncClient, cluster: str, run: str) -> str:
    answer = await http.get(
        f"/clusters/{cluster}/runs/{run}", params={"wait": 20, "until": "final"}
    )
    status: str = answer.json()["status"]
    return status


async def test_only_the_machine_that_holds_a_call_can_answer_it_and_only_once(
    world: World, http: httpx2.AsyncClient
) -> None:
    run, call = await called(http, world.cluster_id)
    path = f"/clusters/{world.cluster_id}/calls/{call['id']}"
    result = {"result": 2, "resultType": "resolution", "attempt": call["attempt"]}

    assert (await http.post(f"{path}/heartbeat", json={})).json() == {"cancelled": False}
    other = await http.post(f"{path}/result", json=result, headers={"x-machine-id": "m2"})
    assert (other.status_code, other.json()["code"]) == (409, "superseded")
    stale = await http.post(f"{path}/result", json=result | {"attempt": 99})
    assert stale.status_code == 409
    assert (await http.post(f"{path}/result", json=result)).status_code == 204
    twice = await http.post(f"{path}/result", json=result)
    assert (twice.status_code, twice.json()["code"]) == (409, "superseded")
    assert await status_of(http, world.cluster_id, run) == "done"


async def test_a_result_that_comes_after_a_cancel_is_refused(
    world: World, http: httpx2.AsyncClient
) -> None:
    run, call = await called(http, world.cluster_id)
    path = f"/clusters/{world.cluster_id}"
    assert (await http.post(f"{path}/runs/{run}/cancel", json={})).status_code == 200
    assert await status_of(http, world.cluster_id, run) == "cancelled"
    beat = await http.post(f"{path}/calls/{call['id']}/heartbeat", json={})
    assert beat.json() == {"cancelled": True} or beat.status_code == 409
    late = await http.post(
        f"{path}/calls/{call['id']}/result", json={"result": 2, "resultType": "resolution"}
    )
    assert late.status_code == 409
    events = (await http.get(f"{path}/runs/{run}/events", params={"limit": 100})).json()["items"]
    assert events[-1]["type"] == "call.late", "kept as evidence"


async def test_a_missing_result_and_a_falsy_one_are_results(
    world: World, http: httpx2.AsyncClient
) -> None:
    for body in ({}, {"result": None}, {"result": 0}, {"result": ""}, {"result": False}):
        run, call = await called(http, world.cluster_id)
        posted = await http.post(
            f"/clusters/{world.cluster_id}/calls/{call['id']}/result",
            json={"resultType": "resolution", **body},
        )
        assert posted.status_code == 204
        assert await status_of(http, world.cluster_id, run) == "done"
