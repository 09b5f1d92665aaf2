"""Calls that end before they are done, and workers that do."""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import replace

import pytest

from perdure import (
    AsyncPerdure,
    Context,
    Service,
)
from tests.sdk.api_double import ApiDouble
from tests.sdk.worker.serving import FAST, serving


async def test_a_cancelled_call_ends_an_async_function_and_posts_nothing(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    service = Service("sales")
    ended: list[str] = []

    @service.function
    async def wait() -> None:
        ended.append("began")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    async with serving(client, service):
        api.call("sales.wait", {})
        await api.until(lambda: "began" in ended)
        api.cancelled_calls.add("call-1")
        await api.until(lambda: "ended" in ended)
    assert not api.requests("POST .*/result")


async def test_a_cancelled_call_stops_a_blocking_function_and_posts_nothing(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    service = Service("sales")
    cancelled = threading.Event()
    began = threading.Event()

    @service.function
    def wait(context: Context) -> str:
        began.set()
        if context.cancelled.wait(10):
            cancelled.set()
        return "too late"

    async with serving(client, service):
        api.call("sales.wait", {})
        await api.until(began.is_set)
        api.cancelled_calls.add("call-1")
        await api.until(cancelled.is_set)
    assert not api.requests("POST .*/result")


async def test_a_call_that_was_given_to_somebody_else_is_dropped(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    service = Service("sales")
    ended = threading.Event()
    began = threading.Event()

    @service.function
    async def wait() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with serving(client, service):
        api.call("sales.wait", {})
        await api.until(began.is_set)
        api.superseded.add("call-1")
        await api.until(ended.is_set)
    assert not api.requests("POST .*/result")


async def test_a_call_that_is_not_ours_any_more_on_arrival_is_never_begun(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    service = Service("sales")
    begun: list[int] = []

    @service.function
    def note(number: int) -> None:
        begun.append(number)

    api.superseded.add("call-1")
    async with serving(client, service):
        api.call("sales.note", {"number": 1})
        await api.until(lambda: bool(api.requests("POST .*/call-1/heartbeat")))
        api.call("sales.note", {"number": 2}, "call-2")
        await asyncio.to_thread(api.result, "call-2")
    assert begun == [2]


async def test_a_result_that_comes_too_late_is_let_go(
    api: ApiDouble, client: AsyncPerdure, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "perdure")
    api.fault("POST .*/call-1/result", 409)
    async with serving(client, service):
        api.call("sales.double", {"number": 1})
        await api.until(lambda: "finished too late" in caplog.text)
    assert len(api.requests("POST .*/call-1/result")) == 1


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_function_that_hangs_is_rejected_at_its_timeout_and_its_slot_is_free(
    api: ApiDouble, client: AsyncPerdure, is_async: bool
) -> None:
    service = Service("sales")
    release = threading.Event()

    @service.function(concurrency=1)
    async def hang_async(number: int) -> int:
        return number or await asyncio.Event().wait()

    @service.function(concurrency=1)
    def hang(number: int) -> int:
        return number or release.wait(30)

    name = "sales.hang_async" if is_async else "sales.hang"
    async with serving(client, service):
        api.call(name, {"number": 0}, timeoutSeconds=0.3)
        posted = await asyncio.to_thread(api.result)
        assert posted["result"]["name"] == "TimeoutError"
        assert "within 0.3 s" in posted["result"]["message"]
        api.call(name, {"number": 5}, "call-2")
        assert (await asyncio.to_thread(api.result, "call-2"))["result"] == 5
    release.set()
    assert len(api.results["call-1"]) == 1


async def test_a_worker_that_stops_lets_calls_finish_and_takes_no_more(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    service = Service("sales")
    gate = asyncio.Event()
    began = threading.Event()

    @service.function
    async def wait() -> str:
        began.set()
        await gate.wait()
        return "finished"

    async with serving(client, service):
        api.call("sales.wait", {})
        await api.until(began.is_set)
        asyncio.get_running_loop().call_later(0.2, gate.set)
    assert api.results["call-1"][0]["result"] == "finished"
    api.call("sales.wait", {}, "call-2")
    assert [call["id"] for call in api.waiting] == ["call-2"]


async def test_a_call_over_the_grace_time_is_cut_off_and_posts_nothing(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    service = Service("sales")
    seen: list[str] = []
    began = threading.Event()

    @service.function
    async def wait(context: Context) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async with serving(client, service, settings=replace(FAST, grace_seconds=0.1)):
        api.call("sales.wait", {})
        await api.until(began.is_set)
    assert seen == ["cancelled"]
    assert not api.requests("POST .*/result")
