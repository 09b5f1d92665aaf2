"""What a user can do with a run while real processes drive it."""

from __future__ import annotations

import json
import time

import pytest
from pydantic import BaseModel

from perdure import AsyncPerdure, FunctionReference, RunCancelledError, RunFailedError
from perdure.contract import MessageType, RunStatus
from tests.support.running_stack import World, start_worker, until

pytestmark = pytest.mark.timeout(120)
STATUSES = FunctionReference(service="e2e", function="on_status")


class Finding(BaseModel):
    customer: str
    revenue: float


async def test_a_typed_result_is_repaired_until_it_satisfies_its_schema(
    client: AsyncPerdure,
) -> None:
    script = [
        {"result": {"customer": "Ada"}},
        {"text": "I forgot the revenue."},
        {"result": {"customer": "Ada", "revenue": 12.5}},
    ]
    run = await client.create_run(
        json.dumps(script), model="scripted/inline", result_schema=Finding
    )
    assert (await run.poll(timeout=30)).result == Finding(customer="Ada", revenue=12.5)


async def test_a_result_that_cannot_be_had_is_null_with_the_reason(client: AsyncPerdure) -> None:
    script: list[dict[str, dict[str, str]]] = [{"result": {}}] * 4
    run = await client.create_run(
        json.dumps(script), model="scripted/inline", result_schema=Finding
    )
    done = await run.poll(timeout=30)
    assert done.status is RunStatus.DONE
    assert done.result is None
    assert "customer" in str(done.result_null_reason)


async def test_parallel_calls_run_at_the_same_time(world: World, client: AsyncPerdure) -> None:
    calls = [{"function": "e2e_work", "input": {"run": "parallel", "step": n}} for n in range(4)]
    run = await client.create_run(
        json.dumps([{"calls": calls}, {"text": "end"}]),
        model="scripted/inline",
        functions=["e2e_work"],
    )
    await run.poll(timeout=60)
    kinds = [line["kind"] for line in world.lines("parallel")]
    assert kinds.count("begun") == kinds.count("ended") == 4
    assert kinds[:2] == ["begun", "begun"], "the second began before the first ended"


async def test_follow_ups_while_busy_are_queued_and_read_in_order(client: AsyncPerdure) -> None:
    run = await client.create_run(
        json.dumps([{"text": "first", "delayMs": 600}]), model="scripted/inline"
    )
    async for event in run.events():
        if event.type == "run.status":
            break
    sent = [json.dumps([{"text": f"follow-up {number}"}]) for number in range(3)]
    for message in sent:
        await run.send(message)
    done = await run.poll(timeout=60)
    assert done.result == "follow-up 0", "the model read all three at once, and answered them"
    assert done.run.turn == 1
    said = [(m.type, m.data["message"]) for m in await run.messages()]
    assert [text for kind, text in said[1:] if kind is MessageType.HUMAN] == sent
    assert [text for kind, text in said if kind is MessageType.AGENT] == ["first", "follow-up 0"]


async def test_a_follow_up_after_the_end_is_the_next_turn(client: AsyncPerdure) -> None:
    run = await client.create_run(json.dumps([{"text": "one"}]), model="scripted/inline")
    assert (await run.poll(timeout=30)).result == "one"
    await run.send(json.dumps([{"text": "two"}]))
    done = await run.poll(timeout=30)
    assert (done.result, done.run.turn) == ("two", 2)
    await run.send("not a script, and the script is at its end")
    with pytest.raises(RunFailedError):
        await run.poll(timeout=30)
    await run.send(json.dumps([{"text": "three"}]))
    assert (await run.poll(timeout=30)).result == "three"


async def test_a_cancel_reaches_a_running_model_call(client: AsyncPerdure) -> None:
    run = await client.create_run(
        json.dumps([{"text": "too late", "delayMs": 60_000}]), model="scripted/inline"
    )
    await run.refresh()
    started = time.monotonic()
    await run.cancel("changed my mind")
    with pytest.raises(RunCancelledError):
        await run.poll(timeout=30)
    assert time.monotonic() - started < 10
    assert (await run.refresh()).failure_reason == "changed my mind"


async def test_a_cancel_reaches_a_running_function(world: World, client: AsyncPerdure) -> None:
    script = [{"calls": [{"function": "e2e_waits", "input": {"run": "waits-1"}}]}, {"text": "end"}]
    run = await client.create_run(
        json.dumps(script), model="scripted/inline", functions=["e2e_waits"]
    )
    await until(lambda: bool(world.diary_lines("begun", "waits-1")))
    await run.cancel()
    with pytest.raises(RunCancelledError):
        await run.poll(timeout=30)
    await until(lambda: bool(world.diary_lines("cancelled", "waits-1")), seconds=15)


async def test_a_run_says_within_seconds_that_nobody_offers_its_function(
    world: World, client: AsyncPerdure
) -> None:
    world.worker.terminate()
    world.worker.wait()
    started = time.monotonic()
    run = await client.create_run(
        json.dumps(
            [
                {"calls": [{"function": "e2e_work", "input": {"run": "nobody", "step": 1}}]},
                {"text": "end"},
            ]
        ),
        model="scripted/inline",
        functions=["e2e_work"],
        on_status_change=STATUSES,
    )
    try:
        async for event in run.events():
            if event.type == "run.waiting":
                break
        assert time.monotonic() - started < 6
        snapshot = await run.refresh()
        assert snapshot.status is RunStatus.RUNNING
        assert snapshot.waiting_for is not None
        assert snapshot.waiting_for.function == "work"
    finally:
        world.worker = start_worker(world.environment)
    done = await run.poll(timeout=60)
    assert done.result == "end"
    # The handler was away as well: it is notified late, but of everything and in order.
    await until(lambda: len(world.diary_lines("on_status", run.id)) >= 2)
    assert [line["transition"] for line in world.diary_lines("on_status", run.id)] == [1, 2]


async def test_a_model_in_trouble_is_waited_for_and_reported(client: AsyncPerdure) -> None:
    step = {"text": "at last", "error": {"status": 429, "retryAfter": 1.5}}
    run = await client.create_run(json.dumps([step]), model="scripted/inline")
    done = await run.poll(timeout=60)
    assert done.result == "at last"
    waiting = [event async for event in run.events() if event.type == "run.waiting"]
    assert [event.data["kind"] for event in waiting] == ["model"]
    assert waiting[0].data["retryAt"] is not None


async def test_a_spend_limit_pauses_the_run_until_it_is_resumed(client: AsyncPerdure) -> None:
    step = {"text": "paid", "error": {"status": 402}}
    run = await client.create_run(json.dumps([step]), model="scripted/inline")
    deadline = time.monotonic() + 30
    while (await run.refresh()).status is not RunStatus.PAUSED:
        assert time.monotonic() < deadline
    assert "402" in str((await run.refresh()).paused_reason)
    await run.resume()
    assert (await run.poll(timeout=30)).result == "paid"
