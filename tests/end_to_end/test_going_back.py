"""Edits and deletions while real processes are at work on the run."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator

import httpx2
import pytest

from perdure import AsyncPerdure
from tests.support.running_stack import World, until

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def api(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    """The paths of the cluster's runs, for what is asked without the SDK."""
    async with httpx2.AsyncClient(
        base_url=f"{world.url}/clusters/{world.cluster_id}/runs",
        headers={"Authorization": f"Bearer {world.api_key}"},
    ) as api:
        yield api


async def _edit(api: httpx2.AsyncClient, run_id: str, text: str) -> None:
    (first, *_) = (await api.get(f"/{run_id}/messages")).json()["items"]
    answer = await api.put(f"/{run_id}/messages/{first['id']}", json={"message": text})
    assert answer.status_code == 200, answer.text


async def test_an_edit_does_not_wait_for_the_model_that_answers_the_old_text(
    client: AsyncPerdure, api: httpx2.AsyncClient
) -> None:
    slow = json.dumps([{"text": "too late", "delayMs": 60_000}])
    run = await client.create_run(slow, model="scripted/inline")
    async for event in run.events():
        if event.type == "run.status":
            break
    edited = time.monotonic()
    await _edit(api, run.id, json.dumps([{"text": "at once"}]))
    done = await run.poll(timeout=30)
    assert (done.result, done.run.turn) == ("at once", 1)
    assert time.monotonic() - edited < 20


async def test_an_edit_stops_the_function_that_works_for_the_old_text(
    world: World, client: AsyncPerdure, api: httpx2.AsyncClient
) -> None:
    name = "edited meanwhile"
    script = [{"calls": [{"function": "e2e_waits", "input": {"run": name}}]}, {"text": "never"}]
    run = await client.create_run(
        json.dumps(script), model="scripted/inline", functions=["e2e_waits"]
    )
    await until(lambda: bool(world.diary_lines("begun", name)))
    await _edit(api, run.id, json.dumps([{"text": "without it"}]))
    assert (await run.poll(timeout=30)).result == "without it"
    await until(lambda: bool(world.diary_lines("cancelled", name)), seconds=20)


async def test_a_deleted_run_stops_its_function_and_leaves_nothing(
    world: World, client: AsyncPerdure, api: httpx2.AsyncClient
) -> None:
    """Another run of the same id begins from nothing."""
    name = "deleted meanwhile"
    script = [{"calls": [{"function": "e2e_waits", "input": {"run": name}}]}, {"text": "never"}]
    run = await client.create_run(
        json.dumps(script), model="scripted/inline", functions=["e2e_waits"]
    )
    await until(lambda: bool(world.diary_lines("begun", name)))
    assert (await api.delete(f"/{run.id}")).status_code == 204
    assert (await api.get(f"/{run.id}")).status_code == 404
    anew = await client.create_run(
        json.dumps([{"text": "anew"}]), model="scripted/inline", id=run.id
    )
    assert (await anew.poll(timeout=30)).result == "anew"
    await until(lambda: bool(world.diary_lines("cancelled", name)), seconds=20)
