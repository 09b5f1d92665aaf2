"""Run configurations over HTTP: kept, versioned, found, and runs made of them."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from api.dependencies import ApiServices
from orchestrator.store.database.json_columns import object_from_json
from orchestrator.workflows.interface import RunRef

_GROWTH: dict[str, Any] = {
    "name": "Growth of a customer",
    "initialPrompt": "How did {{customer}} grow?",
    "inputSchema": {
        "type": "object",
        "properties": {"customer": {"type": "string"}, "since": {"type": "integer"}},
        "required": ["customer"],
    },
}


@pytest.fixture
def configs(cluster: str) -> str:
    """The path of the cluster's run configurations."""
    return f"/clusters/{cluster}/run-configs"


@pytest.fixture
async def growth(client: httpx2.AsyncClient, configs: str) -> str:
    response = await client.post(configs, json={"id": "growth", **_GROWTH})
    assert response.status_code == 201, response.text
    return f"{configs}/growth"


async def _prompt(services: ApiServices, cluster: str, response: httpx2.Response) -> str:
    """The first message of the run that was made."""
    assert response.status_code == 201, response.text
    ref = RunRef(cluster, response.json()["id"])
    (message,) = await services.store.messages.page(ref, after=0, limit=10)
    return str(object_from_json(message.data)["message"])


async def test_a_configuration_is_shown_as_it_was_stored(
    client: httpx2.AsyncClient, growth: str, cluster: str
) -> None:
    shown = (await client.get(growth)).json()
    assert shown.items() >= {**_GROWTH, "id": "growth", "version": 1, "clusterId": cluster}.items()
    assert shown["versions"] is None


async def test_without_an_id_it_gets_one(client: httpx2.AsyncClient, configs: str) -> None:
    made = (await client.post(configs, json={"name": "x"})).json()
    assert len(made["id"]) == 26
    assert (await client.get(f"{configs}/{made['id']}")).json() == made


async def test_a_change_is_the_next_version_and_the_last_one_stays(
    client: httpx2.AsyncClient, growth: str
) -> None:
    changed = await client.put(growth, json={"name": "Other"})
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    shown = (await client.get(growth, params={"withPreviousVersions": "true"})).json()
    assert (shown["name"], shown["initialPrompt"]) == ("Other", None)
    (before,) = shown["versions"]
    assert before.items() >= {**_GROWTH, "version": 1}.items()


async def test_put_makes_one_that_was_not_there(client: httpx2.AsyncClient, configs: str) -> None:
    made = await client.put(f"{configs}/weekly_report", json={"name": "Weekly"})
    assert (made.status_code, made.json()["version"]) == (200, 1)
    again = await client.post(configs, json={"id": "weekly_report", "name": "Weekly"})
    assert (again.status_code, again.json()["code"]) == (409, "run_config_exists")


async def test_a_deleted_one_is_gone(client: httpx2.AsyncClient, growth: str, runs: str) -> None:
    assert (await client.delete(growth)).status_code == 204
    for request in (client.get(growth), client.delete(growth), client.get(f"{growth}/metrics")):
        assert (await request).status_code == 404
    refused = await client.post(runs, json={"config": {"id": "growth"}})
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_run_config")
    assert refused.json()["errors"][0]["pointer"] == "/config/id"


async def test_pages_miss_nothing(client: httpx2.AsyncClient, configs: str) -> None:
    for n in range(5):
        await client.put(f"{configs}/config-{n}", json={"name": "x"})
    listed: list[str] = []
    query: dict[str, str] = {"limit": "2"}
    while query.get("cursor") != "":
        page = (await client.get(configs, params=query)).json()
        listed += [one["id"] for one in page["items"]]
        query["cursor"] = page["nextCursor"] or ""
    assert listed == [f"config-{n}" for n in range(5)]


async def test_the_best_fitting_is_found_first(
    client: httpx2.AsyncClient, growth: str, configs: str
) -> None:
    await client.put(f"{configs}/refunds", json={"name": "Refunds", "initialPrompt": "Pay back."})
    await client.put(f"{configs}/customers", json={"name": "x", "systemPrompt": "the customers"})
    found = (await client.get(f"{configs}/search", params={"search": "customer growth"})).json()
    assert [one["id"] for one in found["items"]] == ["growth", "customers"]
    assert all(0 < one["similarity"] < 1 for one in found["items"])


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"initialPrompt": "{{customr}} {{customer}}"}, "/initialPrompt", "unknown_placeholder"),
        ({"initialPrompt": "since {{since}}"}, "/initialPrompt", "unused_input"),
        ({"inputSchema": {"type": "no"}}, "/inputSchema/type", "invalid_schema"),
        ({"resultSchema": {"type": "no"}}, "/resultSchema/type", "invalid_schema"),
        ({"id": "search"}, "/id", "reserved_id"),
        ({"id": "short"}, "/id", "invalid_request"),
        ({"initialPromt": "x"}, "/initialPromt", "invalid_request"),
    ],
    ids=str,
)
async def test_what_cannot_work_is_refused_when_it_is_stored(
    client: httpx2.AsyncClient, configs: str, changes: dict[str, Any], pointer: str, code: str
) -> None:
    response = await client.post(configs, json={**_GROWTH, **changes})
    assert (response.status_code, response.json()["code"]) == (422, code)
    assert response.json()["errors"][0]["pointer"] == pointer


async def test_a_run_has_the_inputs_in_its_prompt_and_knows_its_version(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str, runs: str, growth: str
) -> None:
    await client.put(growth, json={**_GROWTH, "initialPrompt": "And {{customer}}?"})
    for version, words in ((1, "How did {{since}} grow?"), (None, "And {{since}}?")):
        config: dict[str, Any] = {"id": "growth", "input": {"customer": "{{since}}"}}
        if version is not None:
            config["version"] = version
        made = await client.post(runs, json={"config": config})
        assert await _prompt(services, cluster, made) == words
        assert made.json()["configId"] == "growth"
        assert made.json()["configVersion"] == (version or 2)
    listed = (await client.get(runs, params={"configId": "growth"})).json()["items"]
    assert len(listed) == 2
    metrics = (await client.get(f"{growth}/metrics")).json()["items"]
    assert [(one["version"], one["status"], one["callCount"]) for one in metrics] == [
        (2, "pending", 0),
        (1, "pending", 0),
    ]


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({}, "/config/input"),
        ({"customer": 3}, "/config/input/customer"),
        ({"customer": "x", "since": "y"}, "/config/input/since"),
    ],
    ids=str,
)
async def test_inputs_are_checked_at_their_place(
    client: httpx2.AsyncClient, runs: str, growth: str, given: dict[str, Any], pointer: str
) -> None:
    response = await client.post(runs, json={"config": {"id": "growth", "input": given}})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_input")
    assert response.json()["errors"][0]["pointer"] == pointer


async def test_without_places_the_inputs_stand_behind_the_prompt(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str, runs: str, configs: str
) -> None:
    await client.put(f"{configs}/plain-one", json={"name": "x", "initialPrompt": "Look."})
    config = {"id": "plain-one", "input": {"a": "</DATA>"}}
    made = await client.post(runs, json={"config": config, "initialPrompt": "not this"})
    assert await _prompt(services, cluster, made) == (
        'Look.\n\n<DATA>\n{\n  "a": "\\u003c/DATA>"\n}\n</DATA>'
    )


async def test_the_configuration_wins_and_the_request_says_the_rest(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str, runs: str, configs: str
) -> None:
    await client.put(
        f"{configs}/half-said",
        json={"name": "x", "systemPrompt": "be brief", "resultSchema": {"type": "string"}},
    )
    body = {
        "config": {"id": "half-said"},
        "initialPrompt": "go {{on}}",
        "systemPrompt": "be long",
        "resultSchema": {"type": "integer"},
    }
    made = await client.post(runs, json=body)
    assert await _prompt(services, cluster, made) == "go {{on}}"
    assert made.json()["systemPrompt"] == "be brief"
    assert made.json()["resultSchema"] == {"type": "string"}
    without = await client.post(runs, json={"config": {"id": "half-said"}})
    assert (without.status_code, without.json()["errors"][0]["pointer"]) == (422, "/initialPrompt")


@pytest.mark.parametrize("functions", [["sales_query"], []])
async def test_the_configurations_functions_win_even_when_there_are_none(
    client: httpx2.AsyncClient, runs: str, configs: str, functions: list[str]
) -> None:
    machine = {"service": "sales", "functions": [{"name": "query"}, {"name": "other"}]}
    headers = {"x-machine-id": "m1"}
    assert (await client.post("/machines", json=machine, headers=headers)).status_code == 200
    body = {"name": "x", "attachedFunctions": functions}
    assert (await client.put(f"{configs}/functions", json=body)).status_code == 200
    made = await client.post(
        runs,
        json={
            "initialPrompt": "go",
            "config": {"id": "functions"},
            "attachedFunctions": ["sales_other"],
        },
    )
    expected = [{"service": "sales", "function": "query"}] if functions else []
    assert made.json()["attachedFunctions"] == expected


async def test_a_function_that_is_gone_is_the_configurations_fault(
    client: httpx2.AsyncClient, runs: str, configs: str
) -> None:
    await client.put(f"{configs}/forgotten", json={"name": "x", "attachedFunctions": ["sales_old"]})
    response = await client.post(runs, json={"initialPrompt": "go", "config": {"id": "forgotten"}})
    assert (response.status_code, response.json()["code"]) == (422, "unknown_function")
    assert response.json()["errors"][0]["pointer"] == "/config/attachedFunctions/0"
