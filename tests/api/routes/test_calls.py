"""Calls over HTTP, from the side of people and programs; nobody has to make them here."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx2
import pytest
from pydantic import JsonValue

from api.dependencies import ApiServices
from orchestrator.store.calls.outcomes import Leased, to_result_content
from orchestrator.workflows.interface import CallRef, RunRef
from perdure.contract import MAX_BLOB_BYTES, ResultType

ME = {"x-machine-id": "worker-1"}
SCHEMA = {
    "type": "object",
    "properties": {"id": {"type": "integer"}},
    "required": ["id"],
}
REQUEST = {"service": "sales", "function": "query", "input": {"id": 7}}


@pytest.fixture
def calls(cluster: str) -> str:
    return f"/clusters/{cluster}/calls"


@pytest.fixture(autouse=True)
async def _registered(client: httpx2.AsyncClient) -> None:
    functions = [
        {"name": "query", "schema": SCHEMA, "config": {"private": True}},
        {"name": "on_status", "config": {"handler": True}},
    ]
    body = {"service": "sales", "functions": functions}
    assert (await client.post("/machines", json=body, headers=ME)).status_code == 200


async def _create(client: httpx2.AsyncClient, calls: str, **fields: Any) -> dict[str, Any]:
    response = await client.post(calls, json={**REQUEST, **fields})
    assert response.status_code == 201, response.text
    created: dict[str, Any] = response.json()
    return created


async def _lease_call(services: ApiServices, cluster: str, call: dict[str, Any]) -> Leased:
    call_ref = CallRef(RunRef(cluster, call["runId"]), call["id"])
    given = await services.store.calls.lease(call_ref, "worker-1", b"token")
    assert isinstance(given, Leased)
    return given


async def _post_result(client: httpx2.AsyncClient, path: str, **fields: Any) -> None:
    """It is in the store although Temporal, which is away here, is signalled later."""
    body = {"resultType": "resolution", **fields}
    response = await client.post(f"{path}/result", json=body, headers=ME)
    assert response.status_code == 204, response.text


async def _lease_and_finish(
    services: ApiServices, cluster: str, call_id: str, result: JsonValue
) -> None:
    """The same without asking for Temporal, which takes its time to be away."""
    content = to_result_content(ResultType.RESOLUTION, result)
    await services.store.calls.accept_result(
        cluster,
        call_id,
        "worker-1",
        None,
        kind=ResultType.RESOLUTION,
        content=content.text,
        is_text=content.is_text,
    )


# -- made ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["query", "on_status"])
async def test_private_functions_and_handlers_can_be_called(
    client: httpx2.AsyncClient, calls: str, function: str
) -> None:
    call = await _create(client, calls, function=function)
    assert (call["status"], call["result"], call["resultType"]) == ("pending", None, None)
    assert (call["service"], call["function"], call["input"]) == ("sales", function, {"id": 7})
    assert (await client.get(f"{calls}/{call['id']}")).json() == call


async def test_a_direct_call_is_in_no_list_of_runs(
    client: httpx2.AsyncClient, calls: str, runs: str
) -> None:
    await _create(client, calls)
    assert (await client.get(runs)).json()["items"] == []


@pytest.mark.parametrize(
    ("fields", "pointer", "code"),
    [
        ({"function": "nothing"}, "/function", "unknown_function"),
        ({"input": {"id": "7"}}, "/input", "invalid_request"),
        ({"input": {}}, "/input", "invalid_request"),
        ({"input": [7]}, "/input", "invalid_request"),
        ({"colour": "red"}, "/colour", "invalid_request"),
    ],
    ids=str,
)
async def test_a_call_that_cannot_be_made_is_refused_at_its_field(
    client: httpx2.AsyncClient, calls: str, fields: dict[str, Any], pointer: str, code: str
) -> None:
    response = await client.post(calls, json={**REQUEST, **fields})
    assert response.status_code == 422
    assert response.json()["code"] == code
    assert response.json()["errors"][0]["pointer"] == pointer


async def test_a_context_over_the_limit_is_refused(client: httpx2.AsyncClient, calls: str) -> None:
    response = await client.post(calls, json={**REQUEST, "context": {"x": "y" * 300_000}})
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (413, "/context")


async def test_the_same_idempotency_key_returns_the_same_call(
    client: httpx2.AsyncClient, calls: str
) -> None:
    key = {"Idempotency-Key": "once"}
    first, second = [await client.post(calls, json=REQUEST, headers=key) for _ in range(2)]
    assert (second.status_code, second.json()["id"]) == (201, first.json()["id"])
    other = await client.post(calls, json={**REQUEST, "input": {"id": 8}}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


async def test_a_key_is_the_same_for_runs_and_calls(
    client: httpx2.AsyncClient, calls: str, runs: str
) -> None:
    key = {"Idempotency-Key": "once"}
    assert (await client.post(calls, json=REQUEST, headers=key)).status_code == 201
    run = await client.post(runs, json={"initialPrompt": "[]"}, headers=key)
    assert (run.status_code, run.json()["code"]) == (422, "idempotency_mismatch")


# -- looked at -------------------------------------------------------------------------------------


async def test_waiting_ends_with_the_result(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str, calls: str
) -> None:
    call = await _create(client, calls)
    await _lease_call(services, cluster, call)
    waiting = asyncio.create_task(client.get(f"{calls}/{call['id']}", params={"wait": 1}))
    await asyncio.sleep(0)
    await _lease_and_finish(services, cluster, call["id"], {"total": 7})
    seen = (await waiting).json()
    assert (seen["status"], seen["result"]) == ("success", {"total": 7})
    assert (seen["resultType"], seen["machineId"], seen["attempts"]) == (
        "resolution",
        "worker-1",
        1,
    )
    assert seen["startedAt"] <= seen["finishedAt"]


async def test_a_wait_that_expires_answers_with_the_call_as_it_stands(
    client: httpx2.AsyncClient, calls: str
) -> None:
    response = await client.post(calls, json=REQUEST, params={"wait": 0.05})
    assert (response.status_code, response.json()["status"]) == (201, "pending")
    seen = await client.get(f"{calls}/{response.json()['id']}", params={"wait": 0.05})
    assert (seen.status_code, seen.json()["status"]) == (200, "pending")


async def test_waiting_ends_when_the_run_was_cancelled(
    client: httpx2.AsyncClient, calls: str
) -> None:
    call = await _create(client, calls)
    await client.post(f"{calls}/{call['id']}/cancel")
    seen = await client.get(f"{calls}/{call['id']}", params={"wait": 20})
    assert (seen.json()["status"], seen.json()["result"]) == (
        "failure",
        "The call was cancelled.",
    )


@pytest.mark.parametrize("result", ["7", 7, "", False], ids=repr)
async def test_a_result_comes_back_as_it_was_given(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str, calls: str, result: object
) -> None:
    call = await _create(client, calls)
    await _lease_call(services, cluster, call)
    await _post_result(client, f"{calls}/{call['id']}", result=result)
    seen = (await client.get(f"{calls}/{call['id']}")).json()
    assert (seen["status"], seen["result"]) == ("success", result)
    original = await client.get(f"{calls}/{call['id']}/result")
    assert original.json() == result
    assert type(original.json()) is type(result)
    assert original.headers["content-type"] == "application/json"


async def test_a_missing_result_is_a_success_and_null(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str, calls: str
) -> None:
    call = await _create(client, calls)
    await _lease_call(services, cluster, call)
    await _post_result(client, f"{calls}/{call['id']}")
    seen = (await client.get(f"{calls}/{call['id']}")).json()
    assert (seen["status"], seen["result"], seen["resultSize"]) == ("success", None, 4)


async def test_a_long_result_stands_at_its_own_address(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str, calls: str
) -> None:
    call = await _create(client, calls)
    await _lease_call(services, cluster, call)
    await _lease_and_finish(services, cluster, call["id"], "x" * 1_000_001)
    seen = (await client.get(f"{calls}/{call['id']}")).json()
    assert (seen["result"], seen["resultSize"], seen["status"]) == (None, 1_000_001, "success")
    original = await client.get(f"{calls}/{call['id']}/result")
    assert original.json() == "x" * 1_000_001


async def test_there_is_no_result_to_read_before_there_is_one(
    client: httpx2.AsyncClient, calls: str
) -> None:
    call = await _create(client, calls)
    response = await client.get(f"{calls}/{call['id']}/result")
    assert (response.status_code, response.json()["code"]) == (409, "no_result")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("GET", "/result"), ("POST", "/cancel"), ("POST", "/blobs")]
)
async def test_an_unknown_call_is_not_there(
    client: httpx2.AsyncClient, calls: str, method: str, path: str
) -> None:
    body = {"name": "n", "type": "text/plain", "data": ""} if path == "/blobs" else None
    response = await client.request(method, f"{calls}/nothing{path}", json=body, headers=ME)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


# -- cancelled -------------------------------------------------------------------------------------


async def test_a_cancelled_call_is_reported_to_its_worker_and_its_result_refused(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str, calls: str
) -> None:
    call = await _create(client, calls)
    await _lease_call(services, cluster, call)
    path = f"{calls}/{call['id']}"
    cancelled = await client.post(f"{path}/cancel", json={"reason": "too slow"})
    assert cancelled.status_code == 200
    assert cancelled.json()["result"] == "The call was cancelled: too slow"
    heartbeat = await client.post(f"{path}/heartbeat", json={"attempt": 1}, headers=ME)
    assert heartbeat.json() == {"cancelled": True}
    late = await client.post(f"{path}/result", json={"resultType": "resolution"}, headers=ME)
    assert (late.status_code, late.json()["code"]) == (409, "superseded")
    again = await client.post(f"{path}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "call_is_finished")
    run = await client.get(f"/clusters/{cluster}/runs/{call['runId']}")
    assert run.json()["status"] == "cancelled"


# -- of a run --------------------------------------------------------------------------------------


async def test_a_runs_calls_and_references_come_in_pages(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str, calls: str
) -> None:
    call = await _create(client, calls)
    await _lease_call(services, cluster, call)
    await _lease_and_finish(services, cluster, call["id"], "order A-1")
    run = f"/clusters/{cluster}/runs/{call['runId']}"
    listed = (await client.get(f"{run}/calls", params={"limit": 1})).json()
    assert ([one["id"] for one in listed["items"]], listed["nextCursor"]) == ([call["id"]], None)
    for token, found in (("A-1", [call["id"]]), ("a-1", []), ("%", [])):
        page = (await client.get(f"{run}/references", params={"token": token})).json()
        assert [one["id"] for one in page["items"]] == found
    before = {"token": "A-1", "before": "2020-01-01T00:00:00Z"}
    assert (await client.get(f"{run}/references", params=before)).json()["items"] == []
    assert (await client.get(f"{run}/references")).status_code == 422
    number = {"token": "x", "before": "7.8e-188"}
    assert (await client.get(f"{run}/references", params=number)).status_code == 422
    missing = f"/clusters/{cluster}/runs/nothing"
    for path in ("calls", "blobs", "references?token=x"):
        assert (await client.get(f"{missing}/{path}")).status_code == 404


# -- blobs -----------------------------------------------------------------------------------------


def _blob(content: bytes, **fields: Any) -> dict[str, Any]:
    data = base64.b64encode(content).decode()
    return {"name": "Größe.png", "type": "image/png", "encoding": "base64", "data": data, **fields}


async def test_a_blob_comes_back_as_an_attachment_that_nobody_sniffs(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str, calls: str
) -> None:
    call = await _create(client, calls)
    await _lease_call(services, cluster, call)
    path = f"{calls}/{call['id']}"
    made = await client.post(f"{path}/blobs", json=_blob(b"\x89PNG\0", size=5), headers=ME)
    assert made.status_code == 201
    (listed,) = (await client.get(path)).json()["blobs"]
    assert (listed["id"], listed["callId"], listed["size"]) == (made.json()["id"], call["id"], 5)
    page = await client.get(f"/clusters/{cluster}/runs/{call['runId']}/blobs")
    assert page.json() == {"items": [listed], "nextCursor": None}
    data = await client.get(f"/clusters/{cluster}/blobs/{listed['id']}/data")
    assert (data.content, data.headers["content-type"]) == (b"\x89PNG\0", "image/png")
    assert data.headers["x-content-type-options"] == "nosniff"
    assert data.headers["content-disposition"] == "attachment; filename*=UTF-8''Gr%C3%B6%C3%9Fe.png"
    assert (await client.get(f"/clusters/{cluster}/blobs/nothing/data")).status_code == 404


@pytest.mark.parametrize(
    ("blob", "status", "pointer"),
    [
        (_blob(b"abc", data="no base64!"), 422, "/data"),
        (_blob(b"abc", data="YQ"), 422, "/data"),
        (_blob(b"abc", size=4), 422, "/size"),
        (_blob(b"abc", type="image/svg+xml"), 422, "/type"),
        (_blob(b"abc", type="text/html"), 422, "/type"),
        (_blob(b"abc", encoding="hex"), 422, "/encoding"),
        (_blob(b"abc", name=""), 422, "/name"),
        (_blob(b"x" * (MAX_BLOB_BYTES + 1)), 413, "/data"),
    ],
    ids=["not base64", "cut", "size", "svg", "html", "hex", "no name", "large"],
)
async def test_a_blob_that_cannot_be_stored_is_refused_at_its_field(
    client: httpx2.AsyncClient,
    services: ApiServices,
    cluster: str,
    calls: str,
    *,
    blob: dict[str, Any],
    status: int,
    pointer: str,
) -> None:
    call = await _create(client, calls)
    await _lease_call(services, cluster, call)
    response = await client.post(f"{calls}/{call['id']}/blobs", json=blob, headers=ME)
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (status, pointer)


async def test_a_blob_of_the_largest_size_is_accepted(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str, calls: str
) -> None:
    call = await _create(client, calls)
    await _lease_call(services, cluster, call)
    largest = _blob(b"x" * MAX_BLOB_BYTES, size=MAX_BLOB_BYTES)
    made = await client.post(f"{calls}/{call['id']}/blobs", json=largest, headers=ME)
    assert made.status_code == 201


# -- configured ------------------------------------------------------------------------------------


async def test_a_key_path_that_cannot_be_used_is_refused_at_registration(
    client: httpx2.AsyncClient,
) -> None:
    cache = {"keyPath": "$.items[?@.price > 1]", "ttlSeconds": 60}
    functions = [{"name": "query"}, {"name": "other", "config": {"cache": cache}}]
    body = {"service": "shop", "functions": functions}
    response = await client.post("/machines", json=body, headers=ME)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_key_path")
    pointer = response.json()["errors"][0]["pointer"]
    assert pointer == "/functions/1/config/cache/keyPath"
