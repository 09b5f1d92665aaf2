"""A run waits for a person while processes die, and the person's word is not lost with them."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx2
import pytest

from perdure import AsyncPerdure, FunctionReference, RunStatus
from perdure.resources.runs import AsyncRun
from tests.support.running_stack import World, until

pytestmark = pytest.mark.timeout(150)


def _api(world: World) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        base_url=f"{world.url}/clusters/{world.cluster_id}",
        headers={"Authorization": f"Bearer {world.api_key}"},
        timeout=30,
    )


async def _asked(world: World, client: AsyncPerdure, name: str) -> tuple[AsyncRun[Any], str]:
    """A run that waits for a person; the call."""
    script = [
        {"calls": [{"function": "e2e_asks", "input": {"run": name, "amount": 100}}]},
        {"text": "over"},
    ]
    run = await client.create_run(
        json.dumps(script),
        model="scripted/inline",
        functions=["e2e_asks"],
        on_status_change=FunctionReference(service="e2e", function="on_status"),
    )
    async with asyncio.timeout(30):
        call_id = await anext(
            event.data["callId"] async for event in run.events() if event.type == "call.interrupted"
        )
    async with _api(world) as api:
        waiting = (await api.get("/approvals")).json()["items"]
    assert (run.id, call_id) in {(one["runId"], one["callId"]) for one in waiting}
    return run, call_id


async def _decide(world: World, call_id: str, **word: object) -> None:
    async with _api(world) as api:
        decided = await api.post(f"/calls/{call_id}/approval", json=word)
    assert decided.status_code == 200, decided.text


@pytest.mark.parametrize("victim", ["workers", "temporal", "api"])
async def test_a_decision_is_carried_out_although_a_process_was_killed(
    victim: str, world: World, client: AsyncPerdure
) -> None:
    """While the run waits, and for the API in the moment after it has answered."""
    name = f"asks-{victim}"
    run, call_id = await _asked(world, client, name)
    if victim != "api":
        world.kill(victim)
    await _decide(world, call_id, approved=True, input={"run": name, "amount": 50})
    if victim == "api":
        world.kill(victim)

    done = await run.poll(timeout=90)
    assert (done.status, done.result) == (RunStatus.DONE, "over")
    begun = [(line["approved"], line["amount"]) for line in world.diary_lines("begun", name)]
    assert begun == [(False, 100), (True, 50)]
    await until(
        lambda: len({line["transition"] for line in world.diary_lines("on_status", run.id)}) == 4
    )
    statuses = {
        line["transition"]: line["status"] for line in world.diary_lines("on_status", run.id)
    }
    assert [statuses[number] for number in sorted(statuses)] == [
        "running",
        "paused",
        "running",
        "done",
    ]


async def test_a_waiting_run_wakes_at_once(world: World, client: AsyncPerdure) -> None:
    run, call_id = await _asked(world, client, "asks-soon")
    began = time.monotonic()
    await _decide(world, call_id, approved=False, reason="not today")
    done = await run.poll(timeout=30)
    assert time.monotonic() - began < 5, "on a busy machine; by itself it takes a tenth of a second"
    assert done.status is RunStatus.DONE
    assert len(world.diary_lines("begun", "asks-soon")) == 1
    (denied,) = [event async for event in run.events() if event.type == "call.denied"]
    assert denied.data["reason"] == "not today"
