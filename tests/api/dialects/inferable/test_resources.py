"""What the Inferable manner adds to the native answers: waits, upserts, packed results, other statuses."""

from __future__ import annotations

import asyncio
import json
import time

import httpx2
import pytest
from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.types import Receive, Scope as AsgiScope, Send

from api.app import DIALECTS
from api.auth.rate_limits import classify
from api.dependencies import ApiServices
from api.dialects.inferable.call_format import format_job, is_open
from api.http.dialect import DialectMiddleware
from orchestrator.workflows.interface import RunRef
from perdure.contract import Scope
from tests.api.dialects.inferable.client import QUERY, SDK, create, register
from tests.support.tenants import key_with

CALL = {"service": "sales", "function": "query", "input": {"sql": "select 1"}}


# -- calls -----------------------------------------------------------------------------------------


async def test_a_call_whose_time_is_over_is_a_408_with_its_id(
    theirs: httpx2.AsyncClient, cluster: str
) -> None:
    await register(theirs, QUERY)
    path = f"/clusters/{cluster}/calls"
    response = await theirs.post(path, params={"waitTime": "1"}, json=CALL)
    said = response.json()
    assert response.status_code == 408
    assert (
        said["message"]
        == said["error"]["message"]
        == "The call has no result yet. Read it by its id."
    )
    assert (said["status"], said["result"], said["resultType"]) == ("pending", None, None)
    call = (await theirs.get(f"{path}/{said['id']}")).json()
    assert json.loads(call["targetArgs"]) == {"value": {"sql": "select 1"}}
    assert (call["targetFn"], call["result"], call["executingMachineId"]) == ("query", None, None)
    assert (call["approved"], call["approvalRequested"], call["runContext"]) == (False, False, None)


async def test_a_call_that_is_not_waited_for_is_answered_at_once(
    theirs: httpx2.AsyncClient, cluster: str
) -> None:
    await register(theirs, QUERY)
    response = await theirs.post(f"/clusters/{cluster}/calls", json=CALL)
    assert response.status_code == 200
    assert set(response.json()) == {"id", "status", "result", "resultType"}


@pytest.mark.parametrize("wait", ["21", "-1", "soon"])
async def test_a_wait_breaks_the_form_under_its_own_name(
    theirs: httpx2.AsyncClient, cluster: str, wait: str
) -> None:
    path = f"/clusters/{cluster}/calls"
    response = await theirs.post(path, params={"waitTime": wait}, json=CALL)
    (issue,) = response.json()["queryParameterErrors"]["issues"]
    assert (response.status_code, issue["path"]) == (400, ["waitTime"])


def test_a_call_that_waits_for_a_person_is_running() -> None:
    call = {
        "id": "c1",
        "runId": "r1",
        "service": "sales",
        "function": "pay",
        "status": "interrupted",
        "machineId": "m1",
        "resultType": None,
        "createdAt": "2026-01-01T00:00:00Z",
        "reasoning": None,
        "approval": {"approved": None},
    }
    job = format_job(call)
    assert (job["status"], job["approvalRequested"], job["approved"]) == ("running", True, False)
    assert is_open(call)


# -- messages --------------------------------------------------------------------------------------


async def test_an_edit_with_another_text_replaces_and_with_the_same_tries_again(
    theirs: httpx2.AsyncClient, services: ApiServices, cluster: str, runs: str
) -> None:
    run_id = await create(theirs, runs)
    path = f"{runs}/{run_id}/messages"
    (first,) = (await theirs.get(path)).json()
    edited = await theirs.put(f"{path}/{first['id']}", json={"message": "other"})
    assert edited.json() == {"id": first["id"], "type": "human", "data": {"message": "other"}}
    ref = RunRef(cluster, run_id)
    assert (await services.store.runs.get(ref)).rewinds == 1
    again = await theirs.put(f"{path}/{first['id']}", json={"message": "other"})
    assert (again.status_code, again.json()) == (200, edited.json())
    assert (await services.store.runs.get(ref)).rewinds == 2


async def test_an_edit_of_an_unknown_message_writes_it(
    theirs: httpx2.AsyncClient, runs: str
) -> None:
    run_id = await create(theirs, runs)
    path = f"{runs}/{run_id}/messages"
    made = await theirs.put(f"{path}/01NEWMESSAGE", json={"message": "more"})
    assert made.status_code == 200
    assert made.json() == {"id": "01NEWMESSAGE", "type": "human", "data": {"message": "more"}}
    assert [one["id"] for one in (await theirs.get(path)).json()][1:] == ["01NEWMESSAGE"]


@pytest.mark.parametrize(
    ("interactive", "edited", "status"),
    [
        (True, "{run}/messages/x", 404),
        (True, "nobodys/messages/01NEWMESSAGE", 404),
        (False, "{run}/messages/01NEWMESSAGE", 400),
    ],
    ids=["no id", "no run", "not interactive"],
)
async def test_an_edit_that_cannot_be_is_refused(
    theirs: httpx2.AsyncClient, runs: str, *, interactive: bool, edited: str, status: int
) -> None:
    run_id = await create(theirs, runs, interactive=interactive)
    path = f"{runs}/{edited.format(run=run_id)}"
    response = await theirs.put(path, json={"message": "more"})
    assert response.status_code == status
    assert response.json()["message"]


# -- the timeline ----------------------------------------------------------------------------------


async def test_a_timeline_goes_on_where_it_was_seen_and_waits_for_more(
    theirs: httpx2.AsyncClient, runs: str
) -> None:
    run_id = await create(theirs, runs)
    path = f"{runs}/{run_id}/timeline"
    first = (await theirs.get(path)).json()
    assert [one["data"] for one in first["messages"]] == [{"message": "[]"}]
    assert (first["run"]["id"], first["jobs"], first["blobs"]) == (run_id, [], [])
    seen = {
        "messagesAfter": first["messages"][-1]["id"],
        "activityAfter": first["activity"][-1]["id"],
    }
    waiting = asyncio.create_task(theirs.get(path, params=seen))
    started = time.perf_counter()
    await asyncio.sleep(0)
    await theirs.post(f"{runs}/{run_id}/messages", json={"message": "more"})
    later = (await waiting).json()
    assert time.perf_counter() - started < 0.9
    assert [one["data"] for one in later["messages"]] == [{"message": "more"}]
    assert {one["type"] for one in later["activity"]} <= {"message.added"}


@pytest.mark.max_wait_seconds(1)
async def test_a_timeline_without_news_is_answered_when_the_time_is_over(
    theirs: httpx2.AsyncClient, runs: str
) -> None:
    run_id = await create(theirs, runs)
    path = f"{runs}/{run_id}/timeline"
    first = (await theirs.get(path)).json()
    seen = {
        "messagesAfter": first["messages"][-1]["id"],
        "activityAfter": first["activity"][-1]["id"],
    }
    started = time.perf_counter()
    later = (await theirs.get(path, params=seen)).json()
    assert time.perf_counter() - started >= 0.9
    assert (later["messages"], later["activity"]) == ([], [])
    assert (await theirs.get(f"{runs}/nobodys/timeline")).status_code == 404


@pytest.mark.parametrize(
    ("operation", "headers", "query", "waits"),
    [
        ("get_timeline", {**SDK}, "", True),
        ("get_run", {"authorization": "sk_bare"}, "", True),
        ("list_runs", {**SDK}, "", False),
        ("get_run", {"authorization": "Bearer sk_ours"}, "", False),
        ("create_call", {**SDK}, "?waitTime=5", True),
        ("create_call", {**SDK}, "?waitTime=0", False),
        ("create_call", {**SDK}, "?wait=5", True),
        ("create_call", {"authorization": "Bearer sk_ours"}, "?wait=5", True),
        ("create_call", {"authorization": "Bearer sk_ours"}, "?waitTime=5", False),
    ],
)
async def test_questions_that_are_held_take_no_turn_of_those_that_work(
    operation: str, headers: dict[str, str], query: str, *, waits: bool
) -> None:
    async def answer_lane(scope: AsgiScope, receive: Receive, send: Send) -> None:
        lane = classify(Request(scope), operation)
        await JSONResponse(lane._asdict())(scope, receive, send)

    app = DialectMiddleware(answer_lane, dialects=DIALECTS)
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
        lane = (await client.get(f"/{query}", headers=headers)).json()
    assert lane["waits"] is waits


# -- clusters and configurations -------------------------------------------------------------------


async def test_what_a_key_may_not_do_is_a_401(
    theirs: httpx2.AsyncClient, services: ApiServices, cluster: str, runs: str
) -> None:
    bearer = await key_with(services, cluster, Scope.MACHINE)
    response = await theirs.get(runs, headers={"authorization": bearer.removeprefix("Bearer ")})
    assert response.status_code == 401
    assert "scope" in response.json()["message"]


async def test_a_configuration_keeps_what_an_edit_leaves_out(
    theirs: httpx2.AsyncClient, cluster: str
) -> None:
    path = f"/clusters/{cluster}/run-configs/counting"
    body = {"name": "Counting", "initialPrompt": "[]", "systemPrompt": "", "public": True}
    made = await theirs.put(path, json={**body, "attachedFunctions": []})
    assert (made.status_code, made.json()["attachedFunctions"]) == (200, [])
    await theirs.put(path, json={"name": "Counting more", "public": True})
    kept = (await theirs.get(path, params={"withPreviousVersions": "true"})).json()
    assert (kept["name"], kept["initialPrompt"]) == ("Counting more", "[]")
    assert kept["systemPrompt"] is None
    assert [one["name"] for one in kept["versions"]] == ["Counting"]
    unnamed = await theirs.put(f"{path}-2", json={"initialPrompt": "[]", "public": True})
    assert unnamed.json()["name"] == "counting-2"


async def test_a_clusters_context_is_shown_with_its_versions(
    theirs: httpx2.AsyncClient, services: ApiServices, cluster: str
) -> None:
    path = f"/clusters/{cluster}"
    bearer = await key_with(services, cluster, Scope.ADMIN)
    admin = {"authorization": bearer}
    for text in ("Be kind.", "Be brief."):
        context = {"current": {"version": "1", "content": text}}
        changed = await theirs.put(path, json={"additionalContext": context}, headers=admin)
        assert (changed.status_code, changed.content) == (204, b"")
    seen = (await theirs.get(path, headers=admin)).json()["additionalContext"]
    assert seen["current"] == {"version": "2", "content": "Be brief."}
    assert seen["history"] == [{"version": "1", "content": "Be kind."}]
    other = {"authorization": await key_with(services, cluster, Scope.CLIENT)}
    shown = (await theirs.get(path, headers=other)).json()["additionalContext"]
    assert shown == {"current": seen["current"], "history": []}, "as a scope of its own says"


async def test_an_event_is_found_by_its_id_with_all_its_data(
    theirs: httpx2.AsyncClient, cluster: str, runs: str
) -> None:
    run_id = await create(theirs, runs)
    path = f"/clusters/{cluster}/events"
    events = (await theirs.get(path, params={"workflowId": run_id})).json()
    assert [event["meta"] for event in events] == [None] * len(events)
    found = (await theirs.get(f"{path}/{events[0]['id']}/meta")).json()
    assert (found["type"], found["workflowId"]) == (events[0]["type"], run_id)
    assert isinstance(found["meta"], dict)
    missing = await theirs.get(f"{path}/{run_id}:000000000099/meta")
    assert (missing.status_code, missing.json()["message"]) == (404, "The run has no event 99.")


@pytest.mark.parametrize(("seconds", "kept"), [(3, 3), (10**9, 30 * 86_400)])
async def test_a_cache_lives_as_long_as_ours_may(
    theirs: httpx2.AsyncClient, cluster: str, seconds: int, kept: int
) -> None:
    cache = {"keyPath": "$.sql", "ttlSeconds": seconds}
    assert (await register(theirs, {**QUERY, "config": {"cache": cache}})).status_code == 200
    (service,) = (await theirs.get(f"/clusters/{cluster}/services")).json()
    assert service["functions"][0]["config"]["cache"] == {"keyPath": "$.sql", "ttlSeconds": kept}
