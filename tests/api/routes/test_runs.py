"""Runs over HTTP: accepted, listed, waited for, cancelled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

NewRun = Callable[..., Awaitable[str]]


@pytest.fixture
def runs(cluster: str) -> str:
    return f"/clusters/{cluster}/runs"


async def test_an_accepted_run_is_stored_although_temporal_is_away(
    client: httpx2.AsyncClient, runs: str
) -> None:
    body = {
        "initialPrompt": "Which customer grew most?",
        "systemPrompt": "Be brief.",
        "resultSchema": {"type": "object", "properties": {"customer": {"type": "string"}}},
        "metadata": {"team": "sales"},
        "context": {"secret": "x"},
        "interactive": False,
    }
    made = await client.post(runs, json=body)
    assert made.status_code == 201
    run = made.json()
    assert (run["status"], run["version"], run["transition"], run["turn"]) == ("pending", 1, 0, 1)
    assert run["name"] == "Which customer grew most?"
    assert run["resultSchema"] == body["resultSchema"]
    assert "context" not in run
    assert (await client.get(f"{runs}/{run['id']}")).json() == run


async def test_the_same_id_again_is_the_same_run(client: httpx2.AsyncClient, runs: str) -> None:
    body = {"initialPrompt": "hello", "id": "my-own.id_1"}
    first, second = [await client.post(runs, json=body) for _ in range(2)]
    assert first.json() == second.json()
    assert (second.status_code, second.json()["id"]) == (201, "my-own.id_1")


async def test_the_same_idempotency_key_again_is_the_same_run(
    client: httpx2.AsyncClient, runs: str
) -> None:
    headers = {"Idempotency-Key": "order 66"}
    answers = await asyncio.gather(
        *(client.post(runs, json={"initialPrompt": "hello"}, headers=headers) for _ in range(8))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    other = await client.post(runs, json={"initialPrompt": "goodbye"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


@pytest.mark.parametrize(
    ("fields", "status", "pointer"),
    [
        ({"initialPrompt": ""}, 422, "/initialPrompt"),
        ({"initialPrompt": "x" * 500_001}, 422, "/initialPrompt"),
        ({"resultSchema": {"type": "strin"}}, 422, "/resultSchema/type"),
        ({"resultSchema": {"$ref": "http://127.0.0.1:1/"}}, 422, "/resultSchema"),
        ({"resultSchema": {"description": "x" * 66_000}}, 413, "/resultSchema"),
        ({"attachedFunctions": ["sales_nothing"]}, 422, "/attachedFunctions/0"),
        ({"attachedFunctions": [{"service": "s", "function": "f"}]}, 422, "/attachedFunctions/0"),
        (
            {"onStatusChange": {"function": {"service": "s", "function": "f"}}},
            422,
            "/onStatusChange/function",
        ),
        ({"model": "nobody/knows"}, 422, "/model"),
        ({"metadata": {"a": 1}}, 422, "/metadata/a"),
        ({"metadata": {f"k{n}": "v" for n in range(65)}}, 422, "/metadata"),
        ({"id": "x/y"}, 422, "/id"),
        ({"context": {"a": "x" * 300_000}}, 413, "/context"),
    ],
    ids=lambda case: str(case)[:40],
)
async def test_bad_input_is_refused_at_its_field(
    client: httpx2.AsyncClient, runs: str, fields: dict[str, Any], status: int, pointer: str
) -> None:
    response = await client.post(runs, json={"initialPrompt": "hello", **fields})
    assert response.status_code == status
    assert response.json()["errors"][0]["pointer"] == pointer
    assert (await client.get(runs)).json()["items"] == []


async def test_a_body_over_four_megabytes_is_refused(client: httpx2.AsyncClient, runs: str) -> None:
    response = await client.post(runs, json={"initialPrompt": "x" * 5_000_000})
    assert response.status_code == 413
    assert "4,194,304 bytes" in response.json()["detail"]


async def test_a_list_is_newest_first_and_its_pages_miss_nothing(
    client: httpx2.AsyncClient, runs: str, new_run: NewRun
) -> None:
    made = [await new_run() for _ in range(5)]
    listed: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await client.get(runs, params={"limit": "2", **cursor})).json()
        listed += [run["id"] for run in page["items"]]
        if len(listed) == 2:
            await new_run()  # comes before the first page and must not shift the second
        if page["nextCursor"] is None:
            break
        cursor = {"cursor": page["nextCursor"]}
    assert listed == made[::-1]


@pytest.mark.parametrize("cursor", ["x", "!", "MQ", "LTEuMQ", "MS4yLjM", "A" * 200, "\u00e9"])
async def test_a_cursor_that_no_list_gave_is_refused(
    client: httpx2.AsyncClient, runs: str, cursor: str
) -> None:
    response = await client.get(runs, params={"cursor": cursor})
    assert response.status_code == 422


async def test_a_list_is_filtered_by_status_and_metadata(
    client: httpx2.AsyncClient, runs: str, new_run: NewRun
) -> None:
    both = await new_run(metadata={"team": "sales", "region": "eu"})
    one = await new_run(metadata={"team": "sales"})
    await new_run(metadata={"team": "support"})
    await client.post(f"{runs}/{one}/cancel")

    async def found(*query: tuple[str, str]) -> set[str]:
        response = await client.get(runs, params=list(query))
        return {run["id"] for run in response.json()["items"]}

    assert await found(("metadata", "team:sales")) == {both, one}
    assert await found(("metadata", "team:sales"), ("metadata", "region:eu")) == {both}
    assert await found(("status", "cancelled"), ("metadata", "team:sales")) == {one}


async def test_metadata_with_colons_can_be_asked_for(
    client: httpx2.AsyncClient, runs: str, new_run: NewRun
) -> None:
    run = await new_run(metadata={"a:b\\c": "http://x:1"})
    response = await client.get(runs, params={"metadata": "a\\:b\\\\c:http://x:1"})
    assert [item["id"] for item in response.json()["items"]] == [run]
    assert (await client.get(runs, params={"metadata": "nocolon"})).status_code == 422


async def test_a_wait_ends_the_moment_the_run_changes(
    client: httpx2.AsyncClient, runs: str, new_run: NewRun
) -> None:
    run = await new_run()
    waiting = asyncio.create_task(client.get(f"{runs}/{run}", params={"wait": 30, "after": 1}))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    started = time.perf_counter()
    await client.post(f"{runs}/{run}/cancel")
    answer = await waiting
    assert time.perf_counter() - started < 0.5
    assert (answer.json()["status"], answer.json()["version"]) == ("cancelled", 2)


async def test_a_wait_for_what_has_happened_answers_at_once(
    client: httpx2.AsyncClient, runs: str, new_run: NewRun
) -> None:
    run = await new_run()
    started = time.perf_counter()
    answer = await client.get(f"{runs}/{run}", params={"wait": 30, "after": 0})
    assert answer.json()["version"] == 1
    assert time.perf_counter() - started < 0.5


async def test_a_wait_that_expires_answers_with_the_run_unchanged(
    client: httpx2.AsyncClient, runs: str, new_run: NewRun
) -> None:
    run = await new_run()
    answer = await client.get(f"{runs}/{run}", params={"wait": 0.2})
    assert (answer.status_code, answer.json()["version"]) == (200, 1)


@pytest.mark.parametrize(
    "query", [{"wait": 31}, {"wait": -1}, {"wait": "nan"}, {"after": -1}, {"aftr": 1}]
)
async def test_a_wrong_wait_is_refused(
    client: httpx2.AsyncClient, runs: str, new_run: NewRun, query: dict[str, str]
) -> None:
    assert (await client.get(f"{runs}/{await new_run()}", params=query)).status_code == 422


async def test_a_run_that_never_began_is_cancelled_at_once_and_stays_so(
    client: httpx2.AsyncClient, runs: str, new_run: NewRun
) -> None:
    run = await new_run()
    cancelled = await client.post(f"{runs}/{run}/cancel", json={"reason": "changed my mind"})
    assert cancelled.status_code == 200
    assert (cancelled.json()["status"], cancelled.json()["failureReason"]) == (
        "cancelled",
        "changed my mind",
    )
    assert (await client.post(f"{runs}/{run}/cancel")).json() == cancelled.json()
    refused = await client.post(f"{runs}/{run}/messages", json={"message": "hello?"})
    assert (refused.status_code, refused.json()["code"]) == (409, "run_is_cancelled")


async def test_a_run_that_is_not_paused_cannot_be_resumed(
    client: httpx2.AsyncClient, runs: str, new_run: NewRun
) -> None:
    response = await client.post(f"{runs}/{await new_run()}/resume")
    assert (response.status_code, response.json()["code"]) == (409, "run_is_not_paused")


@pytest.mark.parametrize("run", ["nobody", "%00", "x" * 500, "..%2f..", "%ff"])
async def test_an_id_that_is_no_runs_is_a_plain_error(
    client: httpx2.AsyncClient, runs: str, run: str
) -> None:
    for path in ("", "/events", "/messages"):
        assert (await client.get(f"{runs}/{run}{path}")).status_code in {404, 422}
