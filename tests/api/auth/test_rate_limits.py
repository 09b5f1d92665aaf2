"""How much a cluster may ask for: of one kind of request the limit never touches another."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import httpx2
import pytest

from api.__main__ import open_services
from api.app import create_app
from api.auth.rate_limits import RateLimiter, TrafficClass
from api.context import ApiServices
from api.http.errors import ApiError
from orchestrator.settings import Settings

WORK, WAIT = TrafficClass(is_worker=False, waits=False), TrafficClass(is_worker=False, waits=True)
MACHINE_WORK, MACHINE_WAIT = (
    TrafficClass(is_worker=True, waits=False),
    TrafficClass(is_worker=True, waits=True),
)


def client_of(services: ApiServices, key: str, throttle: RateLimiter) -> httpx2.AsyncClient:
    app = create_app(replace(services, rate_limiter=throttle))
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app, raise_app_exceptions=False),
        base_url="http://api",
        headers={"Authorization": f"Bearer {key}", "x-machine-id": "m"},
    )


async def test_without_limits_nobody_is_refused() -> None:
    throttle = RateLimiter(per_second=0, max_concurrent=0)
    for _ in range(500):
        await throttle.acquire("c", WORK)


async def test_each_cluster_side_and_kind_has_places_of_its_own() -> None:
    throttle = RateLimiter(per_second=0, max_concurrent=2)
    lanes = [WORK, WAIT, MACHINE_WORK, MACHINE_WAIT]
    leave = [await throttle.acquire("c", lane) for lane in lanes for _ in range(2)]
    for lane in lanes:
        with pytest.raises(ApiError, match="PERDURE_MAX_CONCURRENT_REQUESTS") as caught:
            await throttle.acquire("c", lane)
        assert (caught.value.status_code, caught.value.code) == (429, "too_many_requests")
        assert caught.value.headers == {"Retry-After": "1"}
        await throttle.acquire("another", lane)
    leave[0](200)
    await throttle.acquire("c", WORK)
    with pytest.raises(ApiError):
        await throttle.acquire("c", WORK)


async def test_so_many_requests_a_second_and_no_more() -> None:
    throttle = RateLimiter(per_second=5, max_concurrent=0)
    accepted = 0
    for _ in range(200):
        try:
            await throttle.acquire("c", WORK)
            accepted += 1
        except ApiError as error:
            assert "5 requests a second" in error.detail  # noqa: PT017 - each refusal is looked at
    assert 5 <= accepted <= 10, "the loop may run into a second second"
    await throttle.acquire("another", WORK)
    await throttle.acquire("c", MACHINE_WORK)


async def test_over_the_limit_is_429_with_the_time_to_come_back(
    services: ApiServices, key: str, cluster: str
) -> None:
    async with client_of(services, key, RateLimiter(per_second=3, max_concurrent=0)) as client:
        answers = [await client.get(f"/clusters/{cluster}/runs") for _ in range(12)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused
        assert refused[0].headers["retry-after"] == "1"
        assert "PERDURE_MAX_REQUESTS_PER_SECOND" in refused[0].json()["detail"]
        poll = await client.get(f"/clusters/{cluster}/calls", params={"service": "s"})
        assert poll.status_code == 410, "a machine is not starved by clients"


async def test_a_place_is_free_again_when_its_answer_was_sent(
    services: ApiServices, key: str, cluster: str
) -> None:
    async with client_of(services, key, RateLimiter(per_second=0, max_concurrent=1)) as client:
        body = {"initialPrompt": "[]"}
        run = (await client.post(f"/clusters/{cluster}/runs", json=body)).json()["id"]
        path = f"/clusters/{cluster}/runs/{run}"
        asked: list[dict[str, float]] = [{"wait": 0.5}, {"wait": 0.5}, {}]
        first, second, plain = await asyncio.gather(
            *(client.get(path, params=query) for query in asked)
        )
        assert {first.status_code, second.status_code} == {200, 429}
        assert plain.status_code == 200, "who works needs no waiter's place"
        assert (await client.get(path, params={"wait": 0.1})).status_code == 200
        for _ in range(3):
            assert (await client.get(f"{path}x")).status_code == 404


@pytest.mark.parametrize(
    ("setting", "said"),
    [("max_requests_per_second", "1 requests a second"), ("max_concurrent_requests", "at once")],
)
async def test_the_settings_set_the_limits(settings: Settings, setting: str, said: str) -> None:
    async with open_services(settings.model_copy(update={setting: 1})) as services:
        await services.rate_limiter.acquire("c", WORK)
        with pytest.raises(ApiError, match=said):
            await services.rate_limiter.acquire("c", WORK)
