"""Approvals over HTTP: what waits is listed, a person's word is taken once, a function asks by its result."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from api.dependencies import ApiServices
from orchestrator.store import tables
from orchestrator.store.calls.execution import CallStore
from orchestrator.workflows.interface import CallRef, RunRef
from perdure.contract import FunctionDefinition
from tests.support.stage import Stage

MACHINE = {"x-machine-id": "m1"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"amount": {"type": "integer", "maximum": 100}},
    "additionalProperties": False,
}


@pytest.fixture
def calls(cluster: str) -> str:
    return f"/clusters/{cluster}/calls"


async def _called(stage: Stage, *, marked: bool = False) -> tuple[RunRef, str]:
    """A run whose model called a function; the call's id."""
    config = {"requiresApproval": marked}
    definition = FunctionDefinition.model_validate(
        {"name": "pay", "schema": SCHEMA, "config": config}
    )
    await stage.store.functions.register(
        stage.cluster_id, "m1", "sales", [definition], heartbeats=True, alive_until=2**50
    )
    ref = await stage.run()
    await stage.called(ref, "sales_pay")
    rows = await stage.rows(tables.calls)
    return ref, str(rows[-1]["id"])


async def _poll_one(stage: Stage) -> tuple[RunRef, str]:
    """The same, and a machine holds the call."""
    ref, call_id = await _called(stage)
    await stage.lease(ref, call_id)
    return ref, call_id


async def _request_approval(
    client: httpx2.AsyncClient, calls: str, call_id: str, **result: object
) -> None:
    body = {"resultType": "interrupt", "result": {"type": "approval", **result}}
    posted = await client.post(f"{calls}/{call_id}/result", json=body, headers=MACHINE)
    assert posted.status_code == 204, posted.text


async def test_a_function_asks_a_person_decides_and_the_run_goes_on(
    client: httpx2.AsyncClient, cluster: str, calls: str, runs: str, stage: Stage
) -> None:
    ref, call_id = await _poll_one(stage)
    await _request_approval(client, calls, call_id, message="Pay it?", expiresSeconds=3600)

    run = (await client.get(f"{runs}/{ref.run_id}")).json()
    assert (run["status"], run["pausedFor"]) == ("paused", "approval")
    assert run["pausedReason"] == "Approval is asked for: sales.pay."
    page = (await client.get(f"/clusters/{cluster}/approvals")).json()
    (waiting,) = page["items"]
    assert page["nextCursor"] is None
    expected: dict[str, Any] = {
        "callId": call_id,
        "runId": ref.run_id,
        "runName": "a run",
        "service": "sales",
        "function": "pay",
        "input": {},
        "message": "Pay it?",
    }
    assert expected.items() <= waiting.items()

    body = {"approved": True, "reason": "it is due", "input": {"amount": 50}}
    decided = await client.post(f"{calls}/{call_id}/approval", json=body)
    assert decided.status_code == 200
    said = decided.json()
    assert (said["approved"], said["reason"], said["originalInput"]) == (True, "it is due", {})
    assert said["decidedBy"].startswith("tests ")
    assert said["decidedAt"].endswith("Z")
    assert (await client.get(f"/clusters/{cluster}/approvals")).json()["items"] == []
    assert (await client.get(f"{runs}/{ref.run_id}")).json()["status"] == "running"
    given = await stage.lease(ref, call_id)
    assert (given.approved, given.input) == (True, {"amount": 50})


async def test_what_is_too_late_is_refused_with_its_reason(
    client: httpx2.AsyncClient, calls: str, stage: Stage
) -> None:
    ref, call_id = await _poll_one(stage)
    path = f"{calls}/{call_id}/approval"

    async def code(**body: object) -> tuple[int, str]:
        answer = await client.post(path, json={"approved": True, **body})
        return answer.status_code, answer.json()["code"]

    assert await code() == (409, "approval_not_requested")
    await _request_approval(client, calls, call_id)
    await stage.alter(tables.calls, approval_expires_at=1)
    assert await code() == (409, "approval_expired")
    await stage.alter(tables.calls, approval_expires_at=2**50)
    assert (await client.post(path, json={"approved": False})).status_code == 200
    assert await code() == (409, "already_decided")
    another, second = await _poll_one(stage)
    await _request_approval(client, calls, second)
    await stage.store.runs.cancel(another, "enough")
    path = f"{calls}/{second}/approval"
    assert await code() == (409, "run_is_final")
    path = f"{calls}/01UNKNOWN/approval"
    assert await code() == (404, "not_found")
    assert (await stage.get_run(ref)).status == "running"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"approved": True, "input": {"amount": 101}}, "/input"),
        ({"approved": True, "input": {"other": 1}}, "/input"),
        ({"approved": True, "input": [1]}, "/input"),
        ({"approved": False, "input": {"amount": 1}}, "/input"),
        ({"approved": "yes"}, "/approved"),
        ({}, "/approved"),
        ({"approved": True, "reason": "x" * 1025}, "/reason"),
        ({"approved": True, "by": "me"}, "/by"),
    ],
    ids=str,
)
async def test_a_wrong_decision_names_the_field_and_decides_nothing(
    client: httpx2.AsyncClient, calls: str, stage: Stage, body: dict[str, Any], pointer: str
) -> None:
    _, call_id = await _called(stage, marked=True)
    refused = await client.post(f"{calls}/{call_id}/approval", json=body)
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.json()["errors"]] == [pointer]
    assert (await stage.call_row(call_id))["status"] == "interrupted"


async def test_arguments_are_not_accepted_unchecked(
    client: httpx2.AsyncClient, calls: str, stage: Stage
) -> None:
    _, call_id = await _called(stage, marked=True)
    await stage.register(service="sales")
    await stage.alter(tables.functions, name="renamed")
    path = f"{calls}/{call_id}/approval"
    refused = await client.post(path, json={"approved": True, "input": {"amount": 1}})
    assert (refused.status_code, refused.json()["code"]) == (409, "function_not_registered")
    assert (await client.post(path, json={"approved": True})).status_code == 200


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({"type": "general"}, "an interrupt of type 'general'"),
        ("approval", "an interrupt of type 'None'"),
        (None, "an interrupt of type 'None'"),
        ({"type": "approval", "message": "x" * 4097}, "message: String should have at most 4096"),
        ({"type": "approval", "expiresSeconds": 0}, "expiresSeconds: Input should be greater"),
        ({"type": "approval", "expiresSeconds": 91 * 86_400}, "expiresSeconds: Input should be"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_request_that_makes_no_sense_is_a_failure_that_says_so(
    client: httpx2.AsyncClient, calls: str, stage: Stage, result: object, words: str
) -> None:
    ref, call_id = await _poll_one(stage)
    body = {"resultType": "interrupt", "result": result}
    await client.post(f"{calls}/{call_id}/result", json=body, headers=MACHINE)
    row = await stage.call_row(call_id)
    assert (row["status"], row["result_type"]) == ("failure", "rejection")
    (message,) = [data for kind, data in await stage.messages(ref) if kind == "invocation-result"]
    assert words in str(message["result"])


async def test_what_waits_comes_in_pages(
    client: httpx2.AsyncClient, cluster: str, stage: Stage
) -> None:
    made = [(await _called(stage, marked=True))[1] for _ in range(3)]
    path = f"/clusters/{cluster}/approvals"
    first = (await client.get(path, params={"limit": 2})).json()
    second = (await client.get(path, params={"limit": 2, "cursor": first["nextCursor"]})).json()
    assert [one["callId"] for one in first["items"] + second["items"]] == made
    assert second["nextCursor"] is None
    assert (await client.get(path, params={"cursor": "x"})).status_code == 422


async def test_another_clusters_calls_are_unknown(
    services: ApiServices, client: httpx2.AsyncClient, calls: str, cluster: str
) -> None:
    other = Stage(services.store, await services.store.keys.ensure_cluster("other"))
    _, call_id = await _called(other, marked=True)
    refused = await client.post(f"{calls}/{call_id}/approval", json={"approved": True})
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
    assert (await client.get(f"/clusters/{cluster}/approvals")).json()["items"] == []


async def test_inferable_mode_knows_approvals(
    theirs: httpx2.AsyncClient, calls: str, runs: str, stage: Stage
) -> None:
    ref, call_id = await _called(stage)
    machine = theirs.headers["x-machine-id"]
    token = CallRef(ref, call_id)
    await CallStore(stage.store.database).lease(token, machine, b"token")
    body = {"result": {"type": "approval"}, "resultType": "interrupt", "meta": {}}
    await theirs.post(f"{calls}/{call_id}/result", json=body)
    assert (await theirs.get(f"{runs}/{ref.run_id}")).json()["status"] == "paused"
    decided = await theirs.post(f"{calls}/{call_id}/approval", json={"approved": True})
    assert (decided.status_code, decided.text) == (204, "")
    assert (await stage.lease(ref, call_id)).approved
    unknown = await theirs.post(f"{calls}/01UNKNOWN/approval", json={"approved": True})
    assert unknown.status_code == 404
    assert unknown.json()["message"]
