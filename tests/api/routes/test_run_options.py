"""The options of a run over HTTP: what is kept, what is refused and where, what lists and resume do with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from api.dependencies import ApiServices
from orchestrator.llm.providers import ANTHROPIC
from orchestrator.workflows.interface import RunRef
from tests.support.stage import Stage, text_of

NewRun = Callable[..., Awaitable[str]]

_NEXT_YEAR = (datetime.now(UTC) + timedelta(days=365)).replace(microsecond=0)


async def test_a_run_shows_every_option_it_was_given(
    client: httpx2.AsyncClient, runs: str, new_run: NewRun
) -> None:
    asked: dict[str, Any] = {
        "name": "Quarter",
        "reasoningTraces": False,
        "callSummarization": False,
        "priority": 1,
        "tags": ["q3", "it's"],
        "deadline": _NEXT_YEAR.isoformat(),
        "budget": {"tokens": 1000, "usd": 0.5, "steps": 3, "calls": 2},
        "test": {"enabled": True},
    }
    shown = (await client.get(f"{runs}/{await new_run(**asked)}")).json()
    assert shown["test"] is True
    assert datetime.fromisoformat(shown["deadline"]) == _NEXT_YEAR
    same = asked.keys() - {"test", "deadline"}
    assert {name: shown[name] for name in same} == {name: asked[name] for name in same}


async def test_a_plain_run_has_the_defaults(
    client: httpx2.AsyncClient, runs: str, new_run: NewRun
) -> None:
    shown = (await client.get(f"{runs}/{await new_run()}")).json()
    assert (shown["reasoningTraces"], shown["callSummarization"]) == (True, True)
    assert (shown["priority"], shown["tags"], shown["test"]) == (3, [], False)
    assert (shown["budget"], shown["deadline"], shown["configId"]) == (None, None, None)
    assert shown["usage"]["costUsd"] == 0


@pytest.mark.parametrize(
    ("fields", "pointer", "code"),
    [
        ({"deadline": "2020-01-01T00:00:00Z"}, "/deadline", "deadline_passed"),
        ({"deadline": "2099-01-01T00:00:00"}, "/deadline", "invalid_request"),
        ({"deadline": 4_070_908_800}, "/deadline", "invalid_request"),
        ({"deadline": "4070908800"}, "/deadline", "invalid_request"),
        ({"priority": 0}, "/priority", "invalid_request"),
        ({"priority": 6}, "/priority", "invalid_request"),
        ({"budget": {"tokens": 0}}, "/budget/tokens", "invalid_request"),
        ({"budget": {"euros": 1}}, "/budget/euros", "invalid_request"),
        (
            {"budget": {"usd": 1}, "model": "anthropic/claude-unknown"},
            "/budget/usd",
            "unknown_price",
        ),
        ({"tags": ["x"] * 33}, "/tags", "invalid_request"),
        ({"tags": [""]}, "/tags/0", "invalid_request"),
        ({"test": {"mocks": {"a_b": {"output": 1}}}}, "/test/mocks", "mocks_without_test"),
        ({"config": {"id": "nothing"}}, "/config/id", "unknown_run_config"),
        ({"initialPrompt": None}, "/initialPrompt", "invalid_request"),
        ({"attachedFunctions": []}, "/attachedFunctions", "invalid_request"),
    ],
    ids=lambda case: str(case)[:40],
)
async def test_an_option_that_cannot_be_is_refused_at_its_field(
    client: httpx2.AsyncClient, runs: str, fields: dict[str, Any], pointer: str, code: str
) -> None:
    response = await client.post(runs, json={"initialPrompt": "hello", **fields})
    assert (response.status_code, response.json()["code"]) == (422, code), response.text
    assert response.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    "model",
    [
        "claude-3-5-sonnet",
        "claude-3-5-sonnet:beta",
        "claude-3-haiku",
        ANTHROPIC.models[0],
        "anthropic/claude-opus-5-5",
    ],
)
async def test_old_ids_new_ids_and_ids_with_a_provider_are_accepted(
    client: httpx2.AsyncClient, runs: str, new_run: NewRun, model: str
) -> None:
    shown = (await client.get(f"{runs}/{await new_run(model=model)}")).json()
    assert shown["modelIdentifier"].startswith("anthropic/claude-")


async def test_an_unknown_model_is_refused_with_the_list(
    client: httpx2.AsyncClient, runs: str
) -> None:
    response = await client.post(runs, json={"initialPrompt": "x", "model": "gpt-nothing"})
    assert (response.status_code, response.json()["code"]) == (422, "unknown_model")
    assert all(
        name in response.json()["detail"] for name in [*ANTHROPIC.models, *ANTHROPIC.older_names]
    )


async def test_lists_are_filtered_by_tags_and_hide_tests(
    client: httpx2.AsyncClient, runs: str, new_run: NewRun
) -> None:
    both = await new_run(tags=["q3", "eu"])
    one = await new_run(tags=["q3"])
    test = await new_run(tags=["q3"], test={"enabled": True})

    async def found(*query: tuple[str, str]) -> list[str]:
        response = await client.get(runs, params=list(query))
        assert response.status_code == 200, response.text
        return [run["id"] for run in response.json()["items"]]

    assert await found() == [one, both]
    assert await found(("tag", "q3"), ("tag", "eu")) == [both]
    assert await found(("tag", "q3"), ("test", "true")) == [test]
    assert await found(("tag", "q3"), ("test", "all")) == [test, one, both]
    refused = await client.get(runs, params={"test": "maybe"})
    assert refused.status_code == 422


async def test_a_repeated_request_is_the_same_run_though_its_function_is_gone(
    client: httpx2.AsyncClient, runs: str
) -> None:
    machine = {"service": "sales", "functions": [{"name": "query"}]}
    headers = {"x-machine-id": "m1"}
    await client.post("/machines", json=machine, headers=headers)
    body = {"initialPrompt": "x", "attachedFunctions": ["sales_query"], "id": "the-run"}
    key = {"Idempotency-Key": "once"}
    first = await client.post(runs, json=body, headers=key)
    await client.post("/machines", json={"service": "sales", "functions": []}, headers=headers)
    gone = await client.post(runs, json={**body, "id": "another-run"})

    again = await client.post(runs, json=body, headers=key)
    other = await client.post(runs, json={**body, "initialPrompt": "y"}, headers=key)

    assert (gone.status_code, gone.json()["code"]) == (422, "unknown_function")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json()["id"] == first.json()["id"]
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


async def test_a_run_that_used_up_its_budget_goes_on_with_more(
    client: httpx2.AsyncClient,
    services: ApiServices,
    cluster: str,
    runs: str,
    new_run: NewRun,
) -> None:
    run_id = await new_run(budget={"steps": 1})
    stage, ref = Stage(services.store, cluster), RunRef(cluster, run_id)
    await stage.think(ref, text_of("an answer"))
    await stage.send(ref, "and now?")
    await stage.begin(ref)
    path = f"{runs}/{run_id}"
    shown = (await client.get(path)).json()
    assert (shown["status"], shown["pausedFor"]) == ("paused", "budget")
    assert shown["pausedReason"] == "The budget of 1 model steps is used up (1)."

    plain = await client.post(f"{path}/resume")
    assert (plain.status_code, plain.json()["code"]) == (409, "budget_exhausted")
    small = await client.post(f"{path}/resume", json={"budget": {"steps": 1}})
    assert (small.status_code, small.json()["code"]) == (422, "budget_too_small")
    assert small.json()["errors"][0]["pointer"] == "/budget/steps"
    more = await client.post(f"{path}/resume", json={"budget": {"steps": 2}})
    assert (more.status_code, more.json()["status"]) == (200, "running")
    assert more.json()["budget"]["steps"] == 2
