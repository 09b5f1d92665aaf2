from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import JsonValue

from perdure import ConfigurationError, Service, blob
from perdure.contract import FunctionCall, ResultType
from perdure.hosting import Host, Performed

service = Service("here")


@service.function(concurrency=2)
async def wait() -> None:
    """Wait for ever."""
    await asyncio.Event().wait()


@service.function
def ask(answer: str) -> dict[str, Any]:
    """Raise, draw, or answer."""
    if answer == "raise":
        raise KeyError(answer)
    if answer == "exit":
        raise SystemExit(3)
    return {"answer": blob("note", "text/plain", "x") if answer == "draw" else answer}


def _call(function: str, timeout: float = 10.0, **given: JsonValue) -> FunctionCall:
    return FunctionCall(
        id="call",
        service="here",
        function=function,
        input=given,
        run_id="run",
        attempt=4,
        timeout_seconds=timeout,
    )


async def _performed(call: FunctionCall) -> Performed:
    performed = await Host([service]).perform(call, asyncio.Event())
    assert performed is not None
    return performed


async def test_a_result_is_what_a_function_worker_would_post() -> None:
    posted, blobs = await _performed(_call("ask", answer="yes"))
    assert (posted.result, posted.result_type) == ({"answer": "yes"}, ResultType.RESOLUTION)
    assert (posted.attempt, blobs) == (4, ())


@pytest.mark.parametrize("answer", ["raise", "exit"])
async def test_what_a_function_raises_is_a_result_and_ends_nothing(answer: str) -> None:
    posted, _ = await _performed(_call("ask", answer=answer))
    assert posted.result_type is ResultType.REJECTION


async def test_a_wrong_input_is_a_result() -> None:
    posted, _ = await _performed(_call("ask", question=1))
    assert posted.result_type is ResultType.REJECTION
    assert "InvalidInput" in str(posted.result)


async def test_blobs_come_beside_the_result() -> None:
    posted, (kept,) = await _performed(_call("ask", answer="draw"))
    assert posted.result == {"answer": {"blob": "note", "type": "text/plain", "size": 1}}
    assert (kept.name, kept.size) == ("note", 1)


async def test_the_functions_timeout_holds() -> None:
    posted, _ = await _performed(_call("wait", timeout=0.02))
    assert posted.result_type is ResultType.REJECTION
    assert "0.02 s" in str(posted.result)


async def test_an_unwanted_call_has_no_result() -> None:
    unwanted = asyncio.Event()
    working = asyncio.create_task(Host([service]).perform(_call("wait"), unwanted))
    unwanted.set()
    assert await asyncio.wait_for(working, 5) is None


async def test_no_more_calls_of_a_function_than_it_allows() -> None:
    host, inside = Host([service]), asyncio.Semaphore(0)
    leave = asyncio.Event()

    async def stay() -> None:
        async with host.slot("here", "wait"):
            inside.release()
            await leave.wait()

    staying = [asyncio.create_task(stay()) for _ in range(3)]
    await inside.acquire()
    await inside.acquire()
    assert inside.locked(), "the third waits"
    assert host.free("here", "wait") == 0
    leave.set()
    await asyncio.gather(*staying)
    assert not inside.locked()
    assert host.free("here", "wait") == 2


def test_services_are_found_by_name() -> None:
    host = Host.load("tests.end_to_end.hosted:service examples.sales.functions:service")
    assert [one.service for one in host.definitions] == ["inside", "sales"]
    inside = host.definitions[0].functions
    assert [function.name for function in inside] == ["work", "on_status", "double"]


def test_a_name_that_is_no_service_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="has no such name"):
        Host.load("tests.end_to_end.hosted:nothing")
