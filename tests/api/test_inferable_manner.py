"""The manner of the Inferable clients: the same paths, their form of questions, answers and errors."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from typing import Any

import httpx2
import pytest

from api.app import create_app
from api.deps import ApiServices
from api.dialects.inferable_shapes import messages_of
from orchestrator.activity_interface import RunRef
from orchestrator.prompts import GIVE_UP_TOOL, RESULT_TOOL

SDK = {"x-machine-sdk-version": "0.30.61", "x-machine-sdk-language": "typescript"}
QUERY: dict[str, Any] = {
    "name": "query",
    "description": "Query.",
    "schema": '{"type": "object", "properties": {"sql": {"type": "string"}}}',
    "config": {"cache": {"keyPath": "$.sql", "ttlSeconds": 3}, "timeoutSeconds": 7},
}
PENDING_POLL = {"service": "sales", "status": "pending", "acknowledge": "true", "limit": "10"}


@pytest.fixture
async def theirs(services: ApiServices, key: str) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client that speaks as their Node SDK does."""
    transport = httpx2.ASGITransport(create_app(services), raise_app_exceptions=False)
    headers = {"authorization": key, "x-machine-id": "c6daaafe69af6853", **SDK}
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://api", headers=headers
    ) as client:
        yield client


@pytest.fixture
def runs(cluster: str) -> str:
    return f"/clusters/{cluster}/runs"


async def create(client: httpx2.AsyncClient, runs: str, **fields: object) -> str:
    response = await client.post(runs, json={"initialPrompt": "[]", **fields})
    assert response.status_code == 201, response.text
    run_id: str = response.json()["id"]
    return run_id


async def register(client: httpx2.AsyncClient, *functions: dict[str, Any]) -> httpx2.Response:
    body = {"service": "sales", "functions": list(functions)}
    return await client.post("/machines", json=body, headers={"x-sentinel-no-mask": "1"})


# -- which manner ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "list_is_plain"),
    [
        ({"authorization": "{}"}, True),
        ({"authorization": "Bearer {}"}, False),
        ({"authorization": "bearer {}", **SDK}, True),
    ],
    ids=["bare key", "bearer", "bearer and version"],
)
async def test_the_manner_is_told_by_the_version_header_or_a_bare_key(
    client: httpx2.AsyncClient,
    runs: str,
    key: str,
    headers: dict[str, str],
    list_is_plain: bool,
) -> None:
    sent = {**headers, "authorization": headers["authorization"].format(key)}
    answer = (await client.get(runs, headers=sent)).json()
    assert isinstance(answer, list) is list_is_plain


async def test_a_doubled_slash_is_one_in_this_manner_only(
    theirs: httpx2.AsyncClient, client: httpx2.AsyncClient
) -> None:
    assert (await theirs.get("http://api//live")).json()["status"] == "ok"
    assert (await client.get("http://api//live")).status_code == 404


# -- runs ------------------------------------------------------------------------------------------


async def test_a_run_is_created_whatever_else_is_said_and_answered_by_its_id(
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
    assert set(response.json()) == {"id"}
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
        ({"configId": "mine"}, "`configId` is not served yet: send `initialPrompt`."),
        ({"template": {"id": "x"}}, "`template` is not served yet: send `initialPrompt`."),
        (
            {"initialPrompt": "x", "test": {"enabled": True}},
            "Test runs and mocks are not served yet.",
        ),
    ],
    ids=str,
)
async def test_what_would_change_the_runs_meaning_is_refused_in_words(
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
async def test_a_wrong_body_is_told_as_zod_tells_it(
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
async def test_an_unknown_route_is_told_as_their_server_tells_it(
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


# -- messages --------------------------------------------------------------------------------------


async def test_a_message_is_answered_by_201_without_a_body(
    theirs: httpx2.AsyncClient, runs: str
) -> None:
    run_id = await create(theirs, runs)
    sent = {"message": "more", "type": "human", "unknown": 1}
    response = await theirs.post(f"{runs}/{run_id}/messages", json=sent)
    assert (response.status_code, response.content) == (201, b"")
    assert "content-type" not in response.headers
    messages = (await theirs.get(f"{runs}/{run_id}/messages")).json()
    assert [message["data"] for message in messages] == [{"message": "[]"}, {"message": "more"}]
    assert messages[0]["pending"] is False


async def test_a_run_that_is_not_interactive_answers_400(
    theirs: httpx2.AsyncClient, runs: str
) -> None:
    run_id = await create(theirs, runs, interactive=False)
    response = await theirs.post(f"{runs}/{run_id}/messages", json={"message": "more"})
    assert response.status_code == 400
    assert response.json()["message"].startswith("The run is not interactive.")


async def test_a_long_conversation_is_told_whole_and_supervisors_words_are_not_shown(
    theirs: httpx2.AsyncClient, runs: str
) -> None:
    run_id = await create(theirs, runs)
    path = f"{runs}/{run_id}/messages"
    await theirs.post(path, json={"message": "be brief", "type": "supervisor"})
    for number in range(120):
        sent = await theirs.post(path, json={"message": str(number)})
        if sent.status_code == 409:  # so many may be queued
            break
    messages = (await theirs.get(path)).json()
    assert len(messages) > 50
    assert {message["type"] for message in messages} == {"human"}


def _message(kind: str, **data: Any) -> dict[str, Any]:
    return {"id": "m", "type": kind, "data": data, "turn": 1, "createdAt": "2026-01-01T00:00:00Z"}


def _asked(tool: str, **given: Any) -> dict[str, Any]:
    return _message("agent", invocations=[{"id": "i1", "toolName": tool, "input": given}])


@pytest.mark.parametrize(
    ("message", "data"),
    [
        (_message("agent", message="The end."), {"message": "The end.", "done": True}),
        (_asked(RESULT_TOOL, result={"n": 0}), {"done": True, "result": {"n": 0}}),
        (_asked(GIVE_UP_TOOL, reason="no data"), {"done": True, "issue": "no data"}),
        (
            _asked("sales_query", sql="…"),
            {"invocations": [{"id": "i1", "toolName": "sales_query", "input": {"sql": "…"}}]},
        ),
        (
            _message(
                "invocation-result",
                id="i1",
                toolName="f",
                result='{"a": null}',
                resultType="resolution",
            ),
            {
                "id": "i1",
                "result": {
                    "result": {"a": None},
                    "resultType": "resolution",
                    "status": "success",
                },
            },
        ),
        (
            _message(
                "invocation-result",
                id="i1",
                toolName="f",
                result="ValueError: no",
                resultType="rejection",
            ),
            {
                "id": "i1",
                "result": {
                    "result": "ValueError: no",
                    "resultType": "rejection",
                    "status": "success",
                },
            },
        ),
    ],
    ids=["text", "result", "gave up", "calls", "returned", "raised"],
)
def test_a_message_has_the_form_their_clients_read(
    message: dict[str, Any], data: dict[str, Any]
) -> None:
    (shown,) = messages_of([message])
    assert shown["data"] == data


@pytest.mark.parametrize(("kind", "shown"), [("rejection", 0), ("resolution", 1)])
def test_a_result_is_shown_unless_it_was_sent_back_to_the_model(kind: str, shown: int) -> None:
    answer = {"id": "i1", "toolName": RESULT_TOOL, "result": "…", "resultType": kind}
    messages = [_asked(RESULT_TOOL, result=5), _message("invocation-result", **answer)]
    assert len(messages_of(messages)) == shown


# -- function workers ------------------------------------------------------------------------------


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


async def test_a_question_for_calls_is_held_and_says_to_ask_again_at_once(
    theirs: httpx2.AsyncClient, cluster: str
) -> None:
    await register(theirs, QUERY)
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
