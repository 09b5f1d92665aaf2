"""Structured output: one question, one value; and what is said where there is none."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from api.dependencies import ApiServices
from orchestrator.store import tables
from orchestrator.workflows.interface import RunRef
from tests.support.stage import Stage, result_of

_REQUEST: dict[str, Any] = {"prompt": "How many legs?", "resultSchema": {"type": "integer"}}


async def _the_run(stage: Stage) -> RunRef:
    """The hidden run, once it is there."""
    async with asyncio.timeout(5):
        while not (rows := await stage.rows(tables.runs)):  # noqa: ASYNC110 - the store tells nobody of new runs
            await asyncio.sleep(0.01)
    return RunRef(stage.cluster_id, rows[0]["id"])


async def test_the_value_is_the_answer(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str
) -> None:
    stage = Stage(services.store, cluster)
    asking = asyncio.create_task(
        client.post(f"/clusters/{cluster}/structured-output", json=_REQUEST)
    )
    await stage.think(await _the_run(stage), result_of(8))
    response = await asking
    assert (response.status_code, response.json()) == (200, {"success": True, "data": 8})


async def test_the_model_is_offered_no_function_and_no_list_shows_the_run(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str, runs: str
) -> None:
    stage = Stage(services.store, cluster)
    await stage.register("query")
    asking = asyncio.create_task(
        client.post(f"/clusters/{cluster}/structured-output", json=_REQUEST)
    )
    ref = await _the_run(stage)
    question = await stage.begin_step(ref)
    assert (question.tools.functions, question.tools.built_in) == ((), frozenset())
    await stage.record(question, result_of(8))
    assert (await asking).json()["success"]
    assert (await client.get(runs, params={"test": "all"})).json()["items"] == []
    assert (await client.get(f"{runs}/{ref.run_id}")).json()["result"] == 8


async def test_a_value_that_never_fits_is_an_error_with_a_message(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str
) -> None:
    stage = Stage(services.store, cluster)
    asking = asyncio.create_task(
        client.post(f"/clusters/{cluster}/structured-output", json=_REQUEST)
    )
    ref = await _the_run(stage)
    while (await stage.think(ref, result_of("eight"))).status == "running":
        pass
    response = await asking
    assert response.status_code == 200
    assert response.json()["success"] is False
    assert response.json()["error"]


async def test_an_answer_that_takes_too_long_can_be_had_from_its_run(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str, runs: str
) -> None:
    response = await client.post(f"/clusters/{cluster}/structured-output", json=_REQUEST)
    ref = await _the_run(Stage(services.store, cluster))
    assert (response.status_code, response.json()["code"]) == (408, "still_working")
    assert ref.run_id in response.json()["detail"]
    assert (await client.get(f"{runs}/{ref.run_id}")).json()["status"] == "pending"


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"resultSchema": {"type": "no"}}, "/resultSchema/type", "invalid_schema"),
        ({"modelId": "gpt-nothing"}, "/modelId", "unknown_model"),
        ({"temperature": 0.5}, "/temperature", "invalid_request"),
        ({"prompt": ""}, "/prompt", "invalid_request"),
    ],
    ids=str,
)
async def test_bad_questions_are_refused_at_their_field(
    client: httpx2.AsyncClient, cluster: str, changes: dict[str, Any], pointer: str, code: str
) -> None:
    body = {**_REQUEST, **changes}
    response = await client.post(f"/clusters/{cluster}/structured-output", json=body)
    assert (response.status_code, response.json()["code"]) == (422, code)
    assert response.json()["errors"][0]["pointer"] == pointer
