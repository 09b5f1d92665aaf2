from __future__ import annotations

import asyncio
from decimal import Decimal
from time import monotonic

import pytest
from pydantic import BaseModel, TypeAdapter

from perdure import (
    AsyncPerdure,
    ConflictError,
    ConnectionFailedError,
    InvalidRequestError,
    PollTimeoutError,
    ResultError,
    RunCancelledError,
    RunFailedError,
    RunStatus,
)
from tests.sdk.api_double import KEY, ApiDouble, DoubleRun


class Finding(BaseModel):
    customer: str
    revenue: Decimal


async def finish(run: DoubleRun, after: float = 0.1, **fields: object) -> None:
    """Let a run end while somebody waits for it."""
    await asyncio.sleep(after)
    run.change(**{"status": "done", "result": "well", **fields})


async def test_poll_returns_the_result_as_the_type_that_was_asked_for(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    run = await client.create_run("Who?", result_schema=Finding)
    result = {"customer": "Ada", "revenue": "12.50"}
    ending = asyncio.create_task(finish(api.runs[run.id], result=result))
    polled = await run.poll()
    await ending
    assert polled.result == Finding(customer="Ada", revenue=Decimal("12.50"))
    assert polled.unwrap() == polled.result
    assert (polled.id, polled.status) == (run.id, RunStatus.DONE)


async def test_poll_answers_at_once_when_the_run_ends(api: ApiDouble, client: AsyncPerdure) -> None:
    run = await client.create_run("Who?")
    ending = asyncio.create_task(finish(api.runs[run.id], after=0.3))
    began = monotonic()
    assert (await run.poll()).result == "well"
    await ending
    assert monotonic() - began < 1
    assert len(api.requests("GET .*/runs/")) == 1


async def test_poll_waits_for_the_end_and_not_for_every_change(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    run = await client.create_run("Who?")
    api.runs[run.id].change(status="running")
    ending = asyncio.create_task(finish(api.runs[run.id]))
    await run.poll()
    await ending
    (asked,) = api.requests("GET .*/runs/")
    assert asked.query == {"wait": "30", "until": "final"}


async def test_poll_is_no_busy_loop_when_the_server_does_not_wait(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    api.answers_early = True
    run = await client.create_run("Who?")
    with pytest.raises(PollTimeoutError):
        await run.poll(timeout=1)
    assert len(api.requests("GET .*/runs/")) < 12


async def test_poll_takes_json_any_type_and_unions(api: ApiDouble, client: AsyncPerdure) -> None:
    api.add_run("run-x", status="done", result=["1.5", 2])
    plain = await client.get_run("run-x")
    assert (await plain.poll()).result == ["1.5", 2]
    decimals = await client.get_run("run-x", result_schema=list[Decimal])
    assert (await decimals.poll()).result == [Decimal("1.5"), Decimal(2)]
    either = await client.get_run("run-x", result_schema=TypeAdapter(int | list[Decimal]))
    assert (await either.poll()).result == [Decimal("1.5"), Decimal(2)]


async def test_a_null_result_keeps_its_reason(api: ApiDouble, client: AsyncPerdure) -> None:
    api.add_run("run-x", status="done", result=None, resultNullReason="three tries failed")
    run = await client.get_run("run-x", result_schema=Finding)
    polled = await run.poll()
    assert polled.result is None
    assert polled.result_null_reason == "three tries failed"
    with pytest.raises(ResultError, match="three tries failed"):
        polled.unwrap()


async def test_a_null_that_is_the_result_is_no_error(api: ApiDouble, client: AsyncPerdure) -> None:
    api.add_run("run-x", status="done", result=None)
    run = await client.get_run("run-x", result_schema=TypeAdapter(int | None))
    assert (await run.poll()).unwrap() is None


async def test_a_result_of_another_type_is_an_error_with_the_run(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    api.add_run("run-x", status="done", result={"customer": "Ada"})
    run = await client.get_run("run-x", result_schema=Finding)
    with pytest.raises(ResultError, match="revenue") as raised:
        await run.poll()
    assert raised.value.run.result == {"customer": "Ada"}


async def test_a_failed_run_raises_with_its_reason(api: ApiDouble, client: AsyncPerdure) -> None:
    api.add_run("run-x", status="failed", failureReason="the model refused")
    with pytest.raises(RunFailedError, match="run-x failed: the model refused") as raised:
        await (await client.get_run("run-x")).poll()
    assert raised.value.run.failure_reason == "the model refused"


async def test_a_cancelled_run_raises(api: ApiDouble, client: AsyncPerdure) -> None:
    run = await client.create_run("Who?")
    polling = asyncio.create_task(run.poll())
    await api.until(lambda: bool(api.requests("GET .*/runs/")))
    other = await client.get_run(run.id)
    assert (await other.cancel("changed my mind")).status is RunStatus.CANCELLED
    with pytest.raises(RunCancelledError, match="changed my mind"):
        await polling


async def test_a_poll_that_is_over_leaves_the_run_going(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    run = await client.create_run("Who?")
    began = monotonic()
    with pytest.raises(TimeoutError) as raised:
        await run.poll(timeout=0.3)
    assert isinstance(raised.value, PollTimeoutError)
    assert 0.3 <= monotonic() - began < 2
    api.runs[run.id].change(status="done", result=1)
    assert (await run.poll(timeout=0)).result == 1


async def test_a_poll_after_send_waits_for_the_new_turn(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    run = await client.create_run("Who?")
    api.runs[run.id].change(status="done", result="first")
    assert (await run.poll()).result == "first"
    message = await run.send("And now?")
    assert message.turn == 2
    ending = asyncio.create_task(finish(api.runs[run.id], result="second"))
    assert (await run.poll()).result == "second"
    await ending


async def test_a_message_sent_twice_by_the_network_is_one_message(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    run = await client.create_run("Who?")
    api.fault("POST .*/messages", 504)
    await run.send("And now?")
    sent = [seen.body["id"] for seen in api.requests("POST .*/messages")]
    assert len(sent) == 2
    assert len(set(sent)) == 1
    with pytest.raises(InvalidRequestError):
        await run.send("")


async def test_messages_come_over_all_pages_in_order(api: ApiDouble, client: AsyncPerdure) -> None:
    run = await client.create_run("Who?")
    for number in range(5):
        await run.send(f"message {number}")
    texts = [message.data["message"] for message in await run.messages()]
    assert texts == [f"message {number}" for number in range(5)]


async def test_cancelling_a_cancelled_run_is_no_error_a_finished_one_is(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    run = await client.create_run("Who?")
    api.fault("POST .*/cancel", 502)
    await run.cancel()
    assert (await run.cancel()).status is RunStatus.CANCELLED
    api.add_run("run-x", status="done")
    with pytest.raises(ConflictError):
        await client.cancel_run("run-x")


async def test_a_paused_run_is_resumed_any_other_is_not(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    api.add_run("run-x", status="paused")
    run = await client.get_run("run-x")
    assert (await run.resume()).status is RunStatus.RUNNING
    with pytest.raises(ConflictError, match="not paused"):
        await run.resume()


async def test_a_poll_outlasts_an_api_that_is_started_again(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    run = await client.create_run("Who?")
    polling = asyncio.create_task(run.poll())
    await api.until(lambda: bool(api.requests("GET .*/runs/")))
    await asyncio.to_thread(api.stop)
    api.runs[run.id].change(status="done", result="still here")
    await asyncio.to_thread(api.start)
    assert (await polling).result == "still here"


async def test_a_poll_with_a_timeout_says_that_the_api_is_away(api: ApiDouble) -> None:
    async with AsyncPerdure(api.url, KEY) as client:
        run = await client.create_run("Who?")
        await asyncio.to_thread(api.stop)
        with pytest.raises(ConnectionFailedError):
            await run.poll(timeout=0.5)


async def test_events_come_as_they_happen_and_end_with_the_turn(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    run = await client.create_run("Who?")
    double = api.runs[run.id]
    seen: list[int] = []
    double.change(status="running")
    async for event in run.events():
        seen.append(event.version)
        if event.version < 5:
            double.change(name=f"step {event.version}")
        elif event.version == 5:
            double.change(status="done")
    assert seen == [2, 3, 4, 5, 6]
    assert len(api.requests("GET .*/events")) == 1


async def test_a_stream_that_is_cut_goes_on_where_it_was_without_loss_or_repetition(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    run = await client.create_run("Who?")
    for _ in range(4):
        api.runs[run.id].change()
    api.runs[run.id].change(status="done")
    api.cut_stream_after = 2
    api.fault("GET .*/events", 503)
    assert [event.version async for event in run.events()] == [2, 3, 4, 5, 6]
    resumed = [seen.headers.get("last-event-id") for seen in api.requests("GET .*/events")]
    assert resumed == [None, None, "3", "5"]


async def test_events_follow_a_run_through_a_restart_of_the_api(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    run = await client.create_run("Who?")
    api.runs[run.id].change(status="running")
    events = run.events()
    assert (await anext(events)).version == 2
    await asyncio.to_thread(api.stop)
    api.runs[run.id].change(status="done")
    await asyncio.to_thread(api.start)
    assert [event.version async for event in events] == [3]


async def test_events_begin_after_the_one_that_is_named(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    run = await client.create_run("Who?")
    api.runs[run.id].change(status="running")
    api.runs[run.id].change(status="done")
    assert [event.version async for event in run.events(after=2)] == [3]
    assert [event.version async for event in run.events(after=3)] == []
