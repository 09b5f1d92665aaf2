"""One process after the other is killed in the middle of a run, and the run still ends right."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from perdure import AsyncPerdure, FunctionReference
from perdure.contract import RunStatus
from tests.support.running_stack import World, environment_for, registered, start_stack, until

STEPS = 6
pytestmark = [pytest.mark.timeout(150), pytest.mark.usefixtures("processes")]


@pytest.mark.parametrize("victim", ["workers", "api", "function worker", "temporal"])
async def test_a_run_survives_a_killed(victim: str, world: World, client: AsyncPerdure) -> None:
    name = f"kill-{victim.replace(' ', '-')}"
    run = await client.create_run(
        json.dumps({"run": name, "steps": STEPS, "delayMs": 80}),
        model="scripted/billed",
        functions=["e2e_work"],
        on_status_change=FunctionReference(service="e2e", function="on_status"),
    )
    await until(lambda: len(world.diary_lines("ended", name)) >= 2)
    if victim == "function worker":
        await until(
            lambda: len(world.diary_lines("begun", name)) > len(world.diary_lines("ended", name))
        )
        world.replace_worker()
    else:
        world.kill(victim)

    done = await run.poll(timeout=120)

    assert done.status is RunStatus.DONE
    assert done.result == f"{STEPS} steps"
    await _check_events(world, run.id, client, name)


async def _check_events(world: World, run_id: str, client: AsyncPerdure, name: str) -> None:
    run = await client.get_run(run_id)
    events = [event async for event in run.events()]
    assert [event.version for event in events] == list(range(1, len(events) + 1))
    recorded = [event.data["step"] for event in events if event.type == "step.recorded"]
    assert recorded == list(range(1, STEPS + 2)), "one recorded reply per step"
    results = Counter(event.data["callId"] for event in events if event.type == "call.finished")
    assert len(results) == STEPS
    assert set(results.values()) == {1}, "one result per call"

    # An attempt beyond the first is paid only where the first one's reply was not recorded.
    paid = Counter(line["step"] for line in world.billed(name))
    attempts = {step: count for step, count in paid.items() if count > 1}
    assert len(attempts) <= 1, f"steps paid more than once: {attempts}"

    transitions = [event.data["transition"] for event in events if event.type == "run.status"]
    assert transitions == [1, 2]
    await until(
        lambda: {line["transition"] for line in world.diary_lines("on_status", run_id)} == {1, 2}
    )
    order = list(
        dict.fromkeys(line["transition"] for line in world.diary_lines("on_status", run_id))
    )
    assert order == [1, 2], "delivered in order"


async def test_a_run_survives_a_killed_supervisor(tmp_path: Path) -> None:
    environment = environment_for(tmp_path)
    before = start_stack(tmp_path, environment)
    async with AsyncPerdure(url=before.url, api_key=before.api_key) as client:
        await registered(client)
        run = await client.create_run(
            json.dumps({"run": "supervisor", "steps": STEPS, "delayMs": 80}),
            model="scripted/billed",
            functions=["e2e_work"],
        )
        await until(lambda: len(before.diary_lines("ended", "supervisor")) >= 2)
        before.dev.kill()
        before.dev.wait()
        before.worker.kill()
        before.worker.wait()

    after = start_stack(tmp_path, environment)
    try:
        async with AsyncPerdure(url=after.url, api_key=after.api_key) as client:
            done = await (await client.get_run(run.id)).poll(timeout=90)
            assert done.result == f"{STEPS} steps"
            assert after.api_key == before.api_key
    finally:
        after.stop()
