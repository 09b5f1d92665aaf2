"""Words of other versions of the Inferable clients, where they do not contradict the one that is proved."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from api.dependencies import ApiServices
from api.dialects.inferable.run_format import parse_run, parse_target
from api.http.errors import ApiError
from orchestrator.workflows.interface import RunRef
from tests.api.dialects.inferable.client import QUERY, create, register

LATER = ["done", "failed", "cancelled"]
TARGET = {"service": "sales", "function": "tell"}


@pytest.mark.parametrize(
    ("target", "heard"),
    [
        ({"function": TARGET}, {"function": TARGET, "statuses": None}),
        ({"type": "function", "function": TARGET}, {"function": TARGET, "statuses": LATER}),
        (
            {"type": "function", "function": TARGET, "statuses": ["paused"]},
            {"function": TARGET, "statuses": ["paused"]},
        ),
        (
            {"function": TARGET, "statuses": ["failed"]},
            {"function": TARGET, "statuses": ["failed", "cancelled"]},
        ),
        (
            {"type": "tool", "tool": "tell"},
            {"function": {"service": "default", "function": "tell"}, "statuses": LATER},
        ),
        ({"webhook": "https://a.b"}, {"webhook": {"url": "https://a.b"}, "statuses": LATER}),
        (
            {"type": "webhook", "webhook": "https://a.b", "function": TARGET},
            {"webhook": {"url": "https://a.b"}, "statuses": LATER},
        ),
        ("somebody", "somebody"),
    ],
    ids=str,
)
def test_the_target_may_be_given_in_the_form_of_any_version(target: object, heard: object) -> None:
    assert parse_target(target) == heard


@pytest.mark.parametrize("target", [{"type": "workflow"}, {"workflow": {"executionId": "x"}}])
def test_a_workflow_cannot_be_a_target(target: dict[str, Any]) -> None:
    with pytest.raises(ApiError, match="Workflows are not supported"):
        parse_target(target)


@pytest.mark.parametrize(
    ("body", "heard"),
    [
        ({"configId": "mine-1", "input": {"a": 1}}, {"id": "mine-1", "input": {"a": 1}}),
        ({"config": {"id": "mine-1"}}, {"id": "mine-1"}),
        ({"template": {"id": "mine-1", "input": {}}}, {"id": "mine-1", "input": {}}),
        ({"configId": "", "initialPrompt": "x"}, None),
    ],
    ids=str,
)
def test_a_configuration_may_be_named_in_three_ways(body: dict[str, Any], heard: object) -> None:
    assert parse_run(body)["config"] == heard


def test_mocks_of_a_run_that_is_no_test_are_passed_over() -> None:
    mocks = {"a_b": {"output": {"n": 1}}}
    test = parse_run({"initialPrompt": "x", "test": {"mocks": mocks}})["test"]
    assert test == {"mocks": {}}
    test = parse_run({"initialPrompt": "x", "test": {"enabled": True, "mocks": mocks}})["test"]
    assert test == {"enabled": True, "mocks": mocks}


async def test_mocks_reach_the_run_under_their_functions_names(
    theirs: httpx2.AsyncClient, services: ApiServices, runs: str, cluster: str
) -> None:
    mocks = {"sales_query": {"output": {"rows": [1]}, "unknown": 1}}
    run_id = await create(theirs, runs, test={"enabled": True, "mocks": mocks})
    record = await services.store.runs.get(RunRef(cluster, run_id))
    assert json.loads(record.mocks or "") == {"sales_query": {"rows": [1]}}
    assert (await theirs.get(runs)).json() == []
    (shown,) = (await theirs.get(runs, params={"test": "true"})).json()
    assert shown["test"] is True


async def test_functions_may_be_attached_by_full_name(
    theirs: httpx2.AsyncClient, runs: str
) -> None:
    await register(theirs, QUERY)
    run_id = await create(theirs, runs, attachedFunctions=["sales_query"])
    run = (await theirs.get(f"{runs}/{run_id}")).json()
    assert run["attachedFunctions"] == ["sales_query"]


async def test_a_prompt_of_the_first_versions_is_none(
    theirs: httpx2.AsyncClient, runs: str
) -> None:
    response = await theirs.post(runs, json={"message": "[]"})
    assert response.status_code == 400
    assert response.json()["message"].startswith("initialPrompt or configId is required")


@pytest.mark.parametrize("name", ["id", "runId"])
async def test_a_run_may_be_given_its_id_and_is_made_once(
    theirs: httpx2.AsyncClient, runs: str, name: str
) -> None:
    first = await create(theirs, runs, **{name: "order-7"})
    second = await create(theirs, runs, **{name: "order-7"})
    assert first == second == "order-7"


async def test_tags_are_metadata_as_an_object_and_tags_as_a_list(
    theirs: httpx2.AsyncClient, runs: str
) -> None:
    named = await create(theirs, runs, tags={"team": "sales"})
    listed = await create(theirs, runs, tags=["urgent"])
    found = (await theirs.get(runs, params={"tags": "team:sales"})).json()
    assert [(run["id"], run["metadata"]) for run in found] == [(named, {"team": "sales"})]
    assert (await theirs.get(f"{runs}/{listed}")).json()["tags"] == ["urgent"]


async def test_tools_are_functions_of_the_default_service_or_full_names(
    theirs: httpx2.AsyncClient, runs: str, cluster: str
) -> None:
    await register(theirs, QUERY)
    registered = await theirs.post("/machines", json={"tools": [{"name": "search"}]})
    assert registered.json() == {"clusterId": cluster}
    run_id = await create(theirs, runs, tools=["search", "sales_query"])
    run = (await theirs.get(f"{runs}/{run_id}")).json()
    assert run["attachedFunctions"] == ["default_search", "sales_query"]
    unknown = await theirs.post(runs, json={"initialPrompt": "[]", "tools": ["nobodys"]})
    assert unknown.status_code == 400


async def test_calls_are_asked_for_as_jobs_by_the_names_of_tools(
    theirs: httpx2.AsyncClient, cluster: str
) -> None:
    await theirs.post("/machines", json={"tools": [{"name": "search"}, {"name": "count"}]})
    asked = {"tools": "search,count", "waitTime": "0", "acknowledge": "true", "limit": "5"}
    response = await theirs.get(f"/clusters/{cluster}/jobs", params=asked)
    assert (response.status_code, response.json()) == (200, [])
    assert response.headers["retry-after"] == "0"
    gone = await theirs.get(f"/clusters/{cluster}/jobs", params=asked | {"tools": "nobodys"})
    assert gone.status_code == 410


@pytest.mark.parametrize(
    ("header", "body", "model"),
    [
        ("scripted/inline", {}, "scripted/inline"),
        ("claude-3-haiku", {}, "anthropic/claude-haiku-5-5"),
        ("claude-3-haiku", {"model": "scripted/inline"}, "scripted/inline"),
        ("nobodys-model", {}, "scripted/inline"),
    ],
    ids=str,
)
async def test_the_model_of_the_header_is_accepted_where_it_is_one_of_ours(
    theirs: httpx2.AsyncClient, runs: str, header: str, body: dict[str, str], model: str
) -> None:
    headers = {
        "x-provider-model": header,
        "x-provider-key": "never",
        "x-provider-url": "http://nowhere",
    }
    made = await theirs.post(runs, json={"initialPrompt": "[]", **body}, headers=headers)
    run = (await theirs.get(f"{runs}/{made.json()['id']}")).json()
    assert run["modelIdentifier"] == model


async def test_a_conversation_is_followed_from_a_message_on(
    theirs: httpx2.AsyncClient, runs: str
) -> None:
    run_id = await create(theirs, runs)
    path = f"{runs}/{run_id}/messages"
    (first,) = (await theirs.get(path, params={"after": "0"})).json()
    nothing = await theirs.get(path, params={"after": first["id"], "waitTime": "0"})
    assert nothing.json() == []
    await theirs.post(path, json={"message": "more"})
    (second,) = (await theirs.get(path, params={"after": first["id"], "waitTime": "5"})).json()
    assert second["data"] == {"message": "more"}


async def test_agents_are_run_configurations(theirs: httpx2.AsyncClient, cluster: str) -> None:
    body = {"name": "Counting", "initialPrompt": "[]", "public": False}
    made = await theirs.post(f"/clusters/{cluster}/agents", json=body)
    agent = await theirs.get(f"/clusters/{cluster}/agents/{made.json()['id']}")
    assert (made.status_code, agent.json()["name"]) == (201, "Counting")
