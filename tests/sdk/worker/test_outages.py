"""Workers whose API is away, forgetful or in no mood."""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import replace

import pytest

from perdure import (
    AsyncPerdure,
    AuthenticationError,
    BlobData,
    ConnectionFailedError,
    InvalidRequestError,
    Service,
    Worker,
    blob,
)
from perdure.http.backoff import Backoff
from perdure.worker.worker import WorkerSettings
from tests.sdk.api_double import KEY, ApiDouble
from tests.sdk.worker.serving import FAST, serving


@pytest.mark.parametrize("status", [500, 502, 503, 429])
async def test_a_result_is_posted_until_it_arrives(
    api: ApiDouble, client: AsyncPerdure, service: Service, status: int
) -> None:
    api.fault("POST .*/result", status, times=2)
    async with serving(client, service):
        api.call("sales.double", {"number": 1})
        assert (await asyncio.to_thread(api.result))["result"] == 2


async def test_a_server_that_forgot_the_service_is_registered_with_again(
    api: ApiDouble, client: AsyncPerdure, service: Service
) -> None:
    async with serving(client, service, settings=replace(FAST, poll_seconds=0.2)):
        api.offered.clear()
        await api.until(lambda: "sales" in api.offered)
        api.call("sales.double", {"number": 4})
        assert (await asyncio.to_thread(api.result))["result"] == 8


async def test_an_api_that_was_away_is_registered_with_again_and_calls_go_on(
    api: ApiDouble, client: AsyncPerdure, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "perdure")
    async with serving(client, service):
        await asyncio.to_thread(api.stop)
        api.offered.clear()
        await api.until(lambda: "waits for the API" in caplog.text)
        await asyncio.to_thread(api.start)
        api.call("sales.double", {"number": 4})
        assert (await asyncio.to_thread(api.result))["result"] == 8
    assert len(api.requests("POST /machines")) == 2
    assert caplog.text.count("waits for the API") == 1
    assert "connected again" in caplog.text


async def test_a_call_at_work_outlasts_an_api_that_is_away(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    service = Service("sales")
    gate = asyncio.Event()
    began = threading.Event()

    @service.function
    async def wait() -> str:
        began.set()
        await gate.wait()
        return "kept"

    async with serving(client, service):
        api.call("sales.wait", {})
        await api.until(began.is_set)
        await asyncio.to_thread(api.stop)
        gate.set()
        await asyncio.to_thread(api.start)
        assert (await asyncio.to_thread(api.result))["result"] == "kept"


async def test_a_wrong_key_keeps_a_worker_from_starting(api: ApiDouble, service: Service) -> None:
    async with AsyncPerdure(api.url, "sk_wrong") as client:
        with pytest.raises(AuthenticationError):
            async with serving(client, service):
                pass


async def test_a_key_that_is_refused_later_is_logged_loudly_once_and_tried_again(
    api: ApiDouble, client: AsyncPerdure, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(client, service, settings=replace(FAST, poll_seconds=0.1)):
        api.fault("GET .*/calls|POST /machines", 401, times=3)
        await api.until(lambda: "rejects the API key" in caplog.text)
        api.call("sales.double", {"number": 4})
        assert (await asyncio.to_thread(api.result))["result"] == 8
    assert caplog.text.count("rejects the API key") == 1


async def test_functions_the_server_refuses_keep_a_worker_from_starting(
    api: ApiDouble, client: AsyncPerdure, service: Service
) -> None:
    api.fault("POST /machines", 422, times=10)
    with pytest.raises(InvalidRequestError, match="scripted 422"):
        async with serving(client, service):
            pass


async def test_an_api_that_stays_away_keeps_a_worker_from_starting_after_its_timeout(
    unused_tcp_port: int, service: Service
) -> None:
    async with AsyncPerdure(f"http://127.0.0.1:{unused_tcp_port}", KEY) as client:
        with pytest.raises(ConnectionFailedError):
            await Worker([service], client, FAST).start(patience=0.3)


async def test_a_call_for_a_function_that_is_not_here_is_left_alone(
    api: ApiDouble, client: AsyncPerdure, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    call = b'[{"id":"call-9","service":"sales","function":"gone","input":{},"runId":"r","attempt":1,"timeoutSeconds":9}]'
    api.fault("GET .*/calls", 200, body=call)
    async with serving(client, service):
        await api.until(lambda: "sales.gone is not registered in this process" in caplog.text)
        api.call("sales.double", {"number": 4})
        assert (await asyncio.to_thread(api.result))["result"] == 8
    assert "call-9" not in api.beats


def test_a_worker_is_back_within_three_seconds_of_its_api_however_long_that_was_away() -> None:
    settings = WorkerSettings()
    backoff = Backoff(settings.first_delay, settings.longest_delay)
    assert max(backoff.delay() for _ in range(100)) < 3


async def test_blobs_go_up_once_each_before_the_result_over_an_outage(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    service = Service("sales")

    @service.function
    def draw() -> list[BlobData]:
        return [blob("one", "text/plain", "1"), blob("two", "text/plain", "2")]

    async with serving(client, service):
        api.fault("POST .*/blobs$", 503, headers={"Retry-After": "0"})
        api.fault("POST .*/result$", 503, times=2, headers={"Retry-After": "0"})
        api.call("sales.draw", {})
        done = await asyncio.to_thread(api.result)
    assert [one["name"] for one in api.blobs] == ["one", "two"]
    assert [one["blob"] for one in done["result"]] == ["one", "two"]
    assert len(api.requests("POST .*/blobs$")) == 3


async def test_a_blob_of_a_call_that_is_not_ours_any_more_is_not_tried_again(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    service = Service("sales")

    @service.function
    def draw() -> BlobData:
        return blob("one", "text/plain", "1")

    async with serving(client, service):
        api.fault("POST .*/blobs$", 409)
        api.call("sales.draw", {})
        await api.until(lambda: len(api.requests("POST .*/blobs$")) == 1)
        api.call("sales.draw", {}, "call-2")
        await asyncio.to_thread(api.result, "call-2")
    assert len(api.requests("POST .*/blobs$")) == 2
    assert len(api.results) == 1
