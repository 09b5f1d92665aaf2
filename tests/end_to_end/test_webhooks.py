"""A webhook receiver that dies and comes back receives everything, in order, signed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from tests.support.running_stack import World, until
from tests.support.webhook_receiver import Receiver, answer, receiving

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(
        base_url=f"{world.url}/clusters/{world.cluster_id}",
        headers={"authorization": f"Bearer {world.api_key}"},
        timeout=40,
    ) as client:
        yield client


async def _received(receiver: Receiver, count: int) -> None:
    await until(lambda: len(receiver.received) >= count, seconds=40)


async def _settled(http: httpx2.AsyncClient, run: str) -> list[dict[str, Any]]:
    """The run's deliveries, when none waits any more."""
    async with asyncio.timeout(40):
        while True:
            items = (await http.get(f"/runs/{run}/deliveries")).json()["items"]
            if items and all(item["status"] != "pending" for item in items):
                return list(items)
            await asyncio.sleep(0.05)


async def test_a_receiver_that_was_away_is_notified_of_everything_in_order(
    http: httpx2.AsyncClient,
) -> None:
    secret = (await http.post("/webhook-secrets")).json()["secret"]
    body = {"initialPrompt": '[{"text": "Hello."}]', "model": "scripted/inline"}
    async with receiving() as receiver:
        receiver.answers.append(answer(500))
        url, port = receiver.url(), receiver.port
        made = await http.post("/runs", json=body | {"onStatusChange": {"webhook": {"url": url}}})
        run = made.json()["id"]
        await _received(receiver, 1)
    waited = await http.get(f"/runs/{run}", params={"wait": 20, "until": "final"})
    assert waited.json()["status"] == "done", "a receiver that is away held the run up"
    async with receiving(port=port) as receiver:
        await _received(receiver, 2)
        deliveries = await _settled(http, run)
        assert [request.headers["webhook-id"] for request in receiver.received] == [
            f"{run}:1",
            f"{run}:2",
        ]
        changes = [request.verified(secret) for request in receiver.received]
        assert [change["status"] for change in changes] == ["running", "done"]
        assert changes[-1]["result"] == "Hello."
        assert [one["status"] for one in deliveries] == ["delivered", "delivered"]
        assert deliveries[0]["attempts"] >= 2
        resent = await http.post(f"/runs/{run}/deliveries/1/resend")
        assert resent.status_code == 200
        await _received(receiver, 3)
        assert receiver.received[2].verified(secret) == changes[0]
