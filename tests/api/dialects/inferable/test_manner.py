"""The manner of the Inferable clients: the same paths, their form of questions, answers and errors."""

from __future__ import annotations

import time
from typing import Any

import httpx2
import pytest

from api.dependencies import ApiServices
from orchestrator.workflows.interface import RunRef
from tests.api.dialects.inferable.client import QUERY, SDK, create, register


@pytest.mark.parametrize(
    ("headers", "list_is_plain"),
    [
        ({"authorization": "{}"}, True),
        ({"authorization": "Bearer {}"}, False),
        ({"authorization": "bearer {}", **SDK}, True),
    ],
    ids=["bare key", "bearer", "bearer and version"],
)
async def test_the_client_profile_is_chosen_by_the_version_header_or_a_bare_key(
    client: httpx2.AsyncClient,
    runs: str,
    key: str,
    headers: dict[str, str],
    list_is_plain: bool,
) -> None:
    sent = {**headers, "authorization": headers["authorization"].format(key)}
    answer = (await client.get(runs, headers=sent)).json()
    assert isinstance(answer, list) is list_is_plain


async def test_a_doubled_slash_is_one_in_inferable_mode_only(
    theirs: httpx2.AsyncClient, client: httpx2.AsyncClient
) -> None:
    assert (await theirs.get("http://api//live")).json()["status"] == "ok"
    assert (await client.get("http://api//live")).status_code == 404


# -- runs ------------------------------------------------------------------------------------------


async def test_a_run_is_created_whatever_else_is_sent_and_answered_by_its_id(
    theirs: httpx2.AsyncClient, runs: str
) -> None:
    response = await theirs.post(
        runs,
        json={
            "initialPrompt": "[]",
            "name": "",
            "systemPrompt": "",
            "reasoningTraces": True,
            "interactive": False,
            "test": {"enabled": False},
            "providerKey": "unknown",
            "resultSchema": {
                "type": "object",
                "$schema": "http://json-schema.org/draft-07/schema#",
            },
            "metadata": {"team": "sales"},
        },
    )
    assert response.status_code == 201
    assert set(response.json()) == {"id", "status", "result"}
    run = (await theirs.get(f"{runs}/{response.json()['id']}")).json()
    expected = {"interactive": False, "metadata": {"team": "sales"}, "status": "pending"}
    assert expected.items() <= run.items()


async def test_a_run_has_what_their_clients_read(
    theirs: httpx2.AsyncClient, runs: str, cluster: str
) -> None:
    await register(theirs, QUERY)
    attached = [{"service": "sales", "function": "query"}]
    run_id = await create(theirs, runs, attachedFunctions=attached, context={"secret": 1})
    run = (await theirs.get(f"{runs}/{run_id}")).json()
    expected = {
        "id": run_id,
        "clusterId": cluster,
        "userId": None,
        "failureReason": None,
        "test": False,
        "feedbackComment": None,
        "feedbackScore": None,
        "result": None,
        "debug": False,
        "authContext": None,
        "attachedFunctions": ["sales_query"],
    }
    assert expected.items() <= run.items()
    assert "context" not in run


async def test_a_cancelled_run_shows_as_failed_with_the_reason(
    theirs: httpx2.AsyncClient, client: httpx2.AsyncClient, runs: str
) -> None:
    run_id = await create(theirs, runs)
    cancelled = await client.post(f"{runs}/{run_id}/cancel", json={"reason": "enough"})
    assert cancelled.json()["status"] == "cancelled"
    run = (await theirs.get(f"{runs}/{run_id}")).json()
    assert (run["status"], run["failureReason"]) == ("failed", "enough")
    (listed,) = (await theirs.get(runs)).json()
    assert listed["status"] == "failed"


@pytest.mark.max_wait_seconds(1)
async def test_a_question_for_a_run_that_works_is_held_until_the_run_has_ended(
    theirs: httpx2.AsyncClient, services: ApiServices, runs: str, cluster: str
) -> None:
    run_id = await create(theirs, runs)
    started = time.perf_counter()
    assert (await theirs.get(f"{runs}/{run_id}")).json()["status"] == "pending"
    assert time.perf_counter() - started >= 0.9
    await services.store.runs.cancel(RunRef(cluster, run_id), "enough")
    started = time.perf_counter()
    assert (await theirs.get(f"{runs}/{run_id}")).json()["status"] == "failed"
    assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, 2),
        ({"limit": "10"}, 2),
        ({"metadata": "team:a:b"}, 1),
        ({"metadata": "team:nobody"}, 0),
        ({"test": "true"}, 0),
        ({"test": "false"}, 2),
        ({"userId": "u"}, 0),
        ({"configId": "c"}, 0),
        ({"colour": "red"}, 2),
    ],
    ids=str,
)
async def test_runs_are_a_plain_list_by_their_filters(
    theirs: httpx2.AsyncClient, runs: str, query: dict[str, str], found: int
) -> None:
    await create(theirs, runs, metadata={"team": "a:b"})
    await create(theirs, runs, metadata={"team": "c"})
    listed = (await theirs.get(runs, params=query)).json()
    assert len(listed) == found
    assert all({"id", "name", "userId", "createdAt", "configVersion"} <= set(run) for run in listed)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "initialPrompt or configId is required to create a workflow"),
        ({"initialPrompt": ""}, "initialPrompt or configId is required to create a workflow"),
        (
            {"initialPrompt": "x", "onStatusChange": {"type": "workflow", "workflow": {}}},
            "Workflows are not supported: pass a function or a webhook.",
        ),
    ],
    ids=str,
)
async def test_what_would_change_the_runs_meaning_is_refused_with_a_message(
    theirs: httpx2.AsyncClient, runs: str, body: dict[str, Any], message: str
) -> None:
    response = await theirs.post(runs, json=body)
    assert response.status_code == 400
    assert response.json()["message"] == message
    assert response.json()["error"] == {"message": message}


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "issue"),
    [
        (
            {"initialPrompt": 5},
            {
                "code": "invalid_type",
                "expected": "string",
                "received": "number",
                "path": ["initialPrompt"],
                "message": "Expected string, received number",
            },
        ),
        (
            {"onStatusChange": {"function": {"service": "sales"}}},
            {
                "code": "invalid_type",
                "expected": "string",
                "received": "undefined",
                "path": ["onStatusChange", "function", "function"],
                "message": "Required",
            },
        ),
        (
            {"attachedFunctions": []},
            {
                "code": "too_small",
                "path": ["attachedFunctions"],
                "message": "List should have at least 1 item after validation, not 0",
            },
        ),
        (
            {"metadata": {"team": None}},
            {
                "code": "invalid_type",
                "expected": "string",
                "received": "null",
                "path": ["metadata", "team"],
                "message": "Expected string, received null",
            },
        ),
    ],
    ids=str,
)
async def test_a_wrong_body_is_reported_as_zod_reports_it(
    theirs: httpx2.AsyncClient, runs: str, fields: dict[str, Any], issue: dict[str, Any]
) -> None:
    response = await theirs.post(runs, json={"initialPrompt": "x", **fields})
    assert response.status_code == 400
    assert response.json() == {
        "pathParameterErrors": None,
        "headerErrors": None,
        "queryParameterErrors": None,
        "bodyErrors": {"issues": [issue], "name": "ZodError"},
    }


async def test_a_missing_key_breaks_the_form_and_a_wrong_one_is_a_401(
    theirs: httpx2.AsyncClient, runs: str
) -> None:
    del theirs.headers["authorization"]
    missing = await theirs.get(runs)
    assert missing.status_code == 400
    (issue,) = missing.json()["headerErrors"]["issues"]
    assert issue["path"] == ["authorization"]
    wrong = await theirs.get(runs, headers={"authorization": "sk_wrong"})
    assert wrong.status_code == 401
    assert wrong.json()["error"]["message"] == "The API key is unknown or revoked."


async def test_a_machine_without_an_id_breaks_the_form(theirs: httpx2.AsyncClient) -> None:
    del theirs.headers["x-machine-id"]
    response = await theirs.post("/machines", json={})
    assert response.status_code == 400
    (issue,) = response.json()["headerErrors"]["issues"]
    assert (issue["path"], issue["message"]) == (["x-machine-id"], "Required")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_an_unknown_route_is_reported_as_their_server_reports_it(
    theirs: httpx2.AsyncClient, method: str
) -> None:
    response = await theirs.request(method, "/machines")
    assert response.status_code == 404
    assert response.json() == {
        "message": f"Route {method}:/machines not found",
        "error": "Not Found",
        "statusCode": 404,
    }


async def test_a_schema_that_is_none_is_a_400_that_names_the_place(
    theirs: httpx2.AsyncClient, runs: str
) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "strin"}}}
    response = await theirs.post(runs, json={"initialPrompt": "x", "resultSchema": schema})
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/json"
    (error,) = response.json()["errors"]
    assert error["path"] == "/resultSchema/properties/a/type"


async def test_an_unknown_run_and_a_foreign_cluster_are_404(
    theirs: httpx2.AsyncClient, runs: str
) -> None:
    for path in (f"{runs}/nobodys", "/clusters/foreign/runs"):
        response = await theirs.get(path)
        assert response.status_code == 404
        assert response.json()["message"] == response.json()["error"]["message"]
