"""Functions beside the Temporal worker: the same promises, without the way over HTTP."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from perdure import AsyncPerdure, FunctionReference
from perdure.contract import RunStatus
from tests.support.running_stack import World, until

STEPS = 8
pytestmark = pytest.mark.timeout(120)


async def test_a_run_survives_the_worker_that_hosts_its_function(
    world: World, client: AsyncPerdure
) -> None:
    run = await client.create_run(
        json.dumps({"run": "hosted", "steps": STEPS, "function": "inside_work"}),
        model="scripted/billed",
        functions=["inside_work"],
        on_status_change=FunctionReference(service="inside", function="on_status"),
    )
    await until(
        lambda: (
            len(world.diary_lines("begun", "hosted"))
            > len(world.diary_lines("ended", "hosted"))
            > 1
        )
    )
    world.kill("workers")

    done = await run.poll(timeout=90)

    assert (done.status, done.result) == (RunStatus.DONE, f"{STEPS} steps")
    events = [event async for event in run.events()]
    assert [event.version for event in events] == list(range(1, len(events) + 1))
    results = Counter(event.data["callId"] for event in events if event.type == "call.finished")
    assert list(results.values()) == [1] * STEPS
    begun = Counter(line["call"] for line in world.diary_lines("begun", "hosted"))
    again = [call for call, times in begun.items() if times > 1]
    assert len(again) <= 1, "no more than the call whose process died in it"
    assert sum(begun.values()) <= STEPS + 1
    await until(
        lambda: {line["transition"] for line in world.diary_lines("on_status", run.id)} == {1, 2}
    )


async def test_a_hosted_function_is_called_directly_too(client: AsyncPerdure) -> None:
    call = await client.call("inside.double", {"number": 21})
    assert (await call.poll(timeout=60)).result == 42
