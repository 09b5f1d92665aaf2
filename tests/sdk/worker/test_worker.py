from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace

import pytest

from perdure import (
    AsyncPerdure,
    Service,
    StatusChange,
)
from tests.sdk.api_double import ApiDouble
from tests.sdk.worker.serving import FAST, serving


async def test_calls_are_answered(api: ApiDouble, client: AsyncPerdure, service: Service) -> None:
    async with serving(client, service):
        api.call("sales.double", {"number": 21})
        api.call("sales.halve", {"number": 21}, "call-2")
        first = await asyncio.to_thread(api.result)
        second = await asyncio.to_thread(api.result, "call-2")
    assert (first["result"], first["resultType"], first["attempt"]) == (42, "resolution", 1)
    assert second["result"] == 10.5


async def test_a_worker_is_registered_and_polling_when_it_has_started(
    api: ApiDouble, client: AsyncPerdure, service: Service
) -> None:
    async with serving(client, service):
        assert [f["name"] for f in api.offered["sales"]["functions"]] == ["double", "halve", "fail"]
        await api.until(lambda: bool(api.requests("GET .*/calls")))
    query = api.requests("GET .*/calls")[0].query
    assert query == {
        "service": "sales",
        "functions": "double,halve,fail",
        "limit": "10",
        "wait": "5",
    }


async def test_every_request_names_the_same_machine(
    api: ApiDouble, client: AsyncPerdure, service: Service
) -> None:
    async with serving(client, service):
        api.call("sales.double", {"number": 1})
        await asyncio.to_thread(api.result)
    machines = {seen.headers["x-machine-id"] for seen in api.seen}
    assert len(machines) == 1


async def test_a_call_is_acknowledged_before_the_function_starts(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    service = Service("sales")
    acknowledged: list[int] = []

    @service.function
    def look() -> None:
        acknowledged.append(api.beats.get("call-1", 0))

    async with serving(client, service, settings=replace(FAST, heartbeat_seconds=5)):
        api.call("sales.look", {}, attempt=7)
        await asyncio.to_thread(api.result)
    assert acknowledged == [1]
    assert api.requests("POST .*/heartbeat")[0].body == {"attempt": 7}


@pytest.mark.parametrize(
    ("function", "value", "name", "message"),
    [
        ("fail", {}, "LookupError", "no such order"),
        ("double", {"number": "x"}, "InvalidInput", "number: Input should be a valid integer"),
        ("double", {}, "InvalidInput", "number: Missing required"),
    ],
)
async def test_a_function_that_raises_is_a_rejection(
    api: ApiDouble,
    client: AsyncPerdure,
    service: Service,
    *,
    function: str,
    value: dict[str, object],
    name: str,
    message: str,
) -> None:
    async with serving(client, service):
        api.call(f"sales.{function}", value)
        posted = await asyncio.to_thread(api.result)
    assert posted["resultType"] == "rejection"
    assert posted["result"]["name"] == name
    assert message in posted["result"]["message"]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
@pytest.mark.parametrize("is_async", [True, False])
async def test_whatever_a_function_raises_the_worker_goes_on(
    api: ApiDouble, client: AsyncPerdure, service: Service, error: BaseException, is_async: bool
) -> None:
    @service.function
    async def leave_async() -> None:
        raise error

    @service.function
    def leave() -> None:
        raise error

    async with serving(client, service):
        api.call("sales.leave_async" if is_async else "sales.leave", {})
        posted = await asyncio.to_thread(api.result)
        assert posted["result"]["name"] == type(error).__name__
        api.call("sales.double", {"number": 1}, "call-2")
        assert (await asyncio.to_thread(api.result, "call-2"))["result"] == 2


async def test_a_blocking_function_does_not_stop_the_heartbeats(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    service = Service("sales")

    @service.function
    def block() -> str:
        deadline = time.monotonic() + 0.6
        while time.monotonic() < deadline:
            sum(range(10_000))  # busy, not asleep
        return "done"

    async with serving(client, service):
        api.call("sales.block", {})
        assert (await asyncio.to_thread(api.result))["result"] == "done"
    assert api.beats["call-1"] >= 5


async def test_a_result_the_server_finds_too_large_becomes_a_rejection_with_the_limit(
    api: ApiDouble, client: AsyncPerdure, service: Service
) -> None:
    api.fault("POST .*/result", 413)
    async with serving(client, service):
        api.call("sales.double", {"number": 1})
        posted = await asyncio.to_thread(api.result)
    assert posted["result"]["name"] == "ResultTooLarge"
    assert "16,777,216" in posted["result"]["message"]


async def test_a_result_of_25_megabytes_is_never_sent(
    api: ApiDouble, client: AsyncPerdure, service: Service
) -> None:
    @service.function
    def large() -> str:
        return "x" * 25_000_000

    async with serving(client, service):
        api.call("sales.large", {})
        posted = await asyncio.to_thread(api.result)
    assert posted["resultType"] == "rejection"
    assert "25,000,002 bytes" in posted["result"]["message"]


async def test_a_result_the_server_refuses_becomes_a_rejection_with_its_reason(
    api: ApiDouble, client: AsyncPerdure, service: Service
) -> None:
    api.fault("POST .*/result", 422)
    async with serving(client, service):
        api.call("sales.double", {"number": 1})
        posted = await asyncio.to_thread(api.result)
    assert posted["result"]["name"] == "ResultRefused"
    assert "scripted 422" in posted["result"]["message"]


async def test_a_function_works_on_as_many_calls_as_it_allows(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    service = Service("sales")
    at_work: list[int] = []
    most: list[int] = []
    gate = asyncio.Event()

    @service.function(concurrency=2)
    async def narrow(number: int) -> int:
        at_work.append(number)
        most.append(len(at_work))
        await gate.wait()
        at_work.remove(number)
        return number

    @service.function
    async def wide(number: int) -> int:
        return number

    for number in range(5):
        api.call("sales.narrow", {"number": number}, f"call-{number}")
    async with serving(client, service):
        await api.until(lambda: len(at_work) == 2)
        api.call("sales.wide", {"number": 9}, "wide")  # room for others is asked for meanwhile
        await asyncio.to_thread(api.result, "wide")
        gate.set()
        for number in range(5):
            await asyncio.to_thread(api.result, f"call-{number}")
    assert max(most) == 2


async def test_a_worker_takes_no_more_calls_than_it_may_over_all(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    service = Service("sales")
    at_work: set[int] = set()
    gate = asyncio.Event()

    @service.function
    async def wait(number: int) -> int:
        at_work.add(number)
        await gate.wait()
        return number

    for number in range(6):
        api.call("sales.wait", {"number": number}, f"call-{number}")
    async with serving(client, service, settings=replace(FAST, max_calls=4)):
        await api.until(lambda: len(at_work) == 4)
        assert len(api.waiting) == 2
        gate.set()
        for number in range(6):
            await asyncio.to_thread(api.result, f"call-{number}")


async def test_several_services_share_a_worker(
    api: ApiDouble, client: AsyncPerdure, service: Service
) -> None:
    stock = Service("stock")

    @stock.function
    def count() -> int:
        return 3

    async with serving(client, service, stock):
        api.call("stock.count", {})
        api.call("sales.double", {"number": 4}, "call-2")
        assert (await asyncio.to_thread(api.result))["result"] == 3
        assert (await asyncio.to_thread(api.result, "call-2"))["result"] == 8


async def test_a_handler_is_notified_of_status_changes(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    service = Service("sales")
    changes: list[StatusChange] = []

    @service.on_status_change
    def announce(change: StatusChange) -> None:
        changes.append(change)

    change = {
        "id": "run-1:3",
        "runId": "run-1",
        "clusterId": "c",
        "transition": 3,
        "turn": 1,
        "previous": "running",
        "status": "done",
        "result": {"a": 1},
        "createdAt": "2026-01-01T00:00:00Z",
    }
    async with serving(client, service):
        api.call("sales.announce", change)
        posted = await asyncio.to_thread(api.result)
    assert (posted["resultType"], posted["result"]) == ("resolution", None)
    assert (changes[0].id, changes[0].result) == ("run-1:3", {"a": 1})


async def test_no_log_line_holds_the_context_or_the_input(
    api: ApiDouble, client: AsyncPerdure, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "perdure")
    async with serving(client, service):
        api.call("sales.fail", {}, runContext={"token": "hush-hush"})
        await asyncio.to_thread(api.result)
        api.call("sales.double", {"number": "hush-hush"}, "call-2")
        await asyncio.to_thread(api.result, "call-2")
    assert "hush-hush" not in caplog.text


async def test_lone_surrogates_and_nul_pass_through_a_function(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    service = Service("sales")

    @service.function
    def surrogate() -> str:
        return "a\ud800b\x00"

    async with serving(client, service):
        api.call("sales.surrogate", {})
        assert (await asyncio.to_thread(api.result))["result"] == "a\ud800b\x00"
