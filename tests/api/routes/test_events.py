"""Events as pages and as a stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx2
import pytest

from api.dependencies import ApiServices
from perdure.contract import Event

NewRun = Callable[..., Awaitable[str]]
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
def events(cluster: str) -> Callable[[str], str]:
    return lambda run: f"/clusters/{cluster}/runs/{run}/events"


@pytest.fixture
async def busy_run(client: httpx2.AsyncClient, cluster: str, new_run: NewRun) -> str:
    """A run with four events."""
    run = await new_run()
    for number in range(3):
        await client.post(f"/clusters/{cluster}/runs/{run}/messages", json={"message": f"{number}"})
    return run


class SeenVersions:
    """Versions as a stream tells them."""

    def __init__(self) -> None:
        self._versions: asyncio.Queue[int] = asyncio.Queue()

    def add(self, version: int) -> None:
        self._versions.put_nowait(version)

    async def until(self, version: int) -> None:
        async with asyncio.timeout(10):
            while await self._versions.get() != version:
                pass


async def read_stream(
    client: httpx2.AsyncClient, path: str, *, seen: SeenVersions | None = None, **headers: str
) -> list[int]:
    """Versions of the events, to the stream's end."""
    versions: list[int] = []
    async with client.stream(
        "GET", path, headers={**STREAM, **{k.replace("_", "-"): v for k, v in headers.items()}}
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        async for item in httpx2.EventSource(response):
            if not item.data:  # the goodbye of a process that ends
                assert item.retry == 500
                continue
            event = Event.model_validate_json(item.data)
            assert item.id == str(event.version)
            versions.append(event.version)
            if seen is not None:
                seen.add(event.version)
    return versions


async def test_pages_of_events_are_gapless(
    client: httpx2.AsyncClient, events: Callable[[str], str], busy_run: str
) -> None:
    first = (await client.get(events(busy_run), params={"limit": 3})).json()
    assert [event["version"] for event in first["items"]] == [1, 2, 3]
    assert (first["version"], first["hasMore"]) == (3, True)
    rest = (await client.get(events(busy_run), params={"after": first["version"]})).json()
    assert [event["version"] for event in rest["items"]] == [4]
    assert (rest["version"], rest["hasMore"]) == (4, False)
    nothing = (await client.get(events(busy_run), params={"after": 4})).json()
    assert (nothing["items"], nothing["version"]) == ([], 4)


async def test_a_stream_streams_events_as_they_happen_and_ends_with_the_turn(
    client: httpx2.AsyncClient,
    cluster: str,
    real: httpx2.AsyncClient,
    events: Callable[[str], str],
    busy_run: str,
) -> None:
    heard = SeenVersions()
    reading = asyncio.create_task(read_stream(real, events(busy_run), seen=heard))
    await heard.until(4)
    assert not reading.done()
    await client.post(f"/clusters/{cluster}/runs/{busy_run}/cancel")
    async with asyncio.timeout(5):
        assert await reading == [1, 2, 3, 4, 5]


async def test_a_stream_goes_on_after_the_last_event_id(
    client: httpx2.AsyncClient, cluster: str, events: Callable[[str], str], busy_run: str
) -> None:
    await client.post(f"/clusters/{cluster}/runs/{busy_run}/cancel")
    assert await read_stream(client, events(busy_run), Last_Event_ID="3") == [4, 5]
    assert await read_stream(client, events(busy_run) + "?after=4") == [5]
    assert await read_stream(client, events(busy_run) + "?after=1", Last_Event_ID="4") == [5]
    assert await read_stream(client, events(busy_run), Last_Event_ID="5") == []


async def test_a_followed_stream_stays_when_the_turn_has_ended(
    client: httpx2.AsyncClient,
    cluster: str,
    real: httpx2.AsyncClient,
    events: Callable[[str], str],
    busy_run: str,
) -> None:
    await client.post(f"/clusters/{cluster}/runs/{busy_run}/cancel")
    reading = asyncio.create_task(read_stream(real, events(busy_run) + "?follow=true"))
    _, waiting = await asyncio.wait({reading}, timeout=0.5)
    assert waiting
    reading.cancel()
    await asyncio.wait({reading})


async def test_a_stream_ends_when_the_process_is_to_end(
    client: httpx2.AsyncClient,
    services: ApiServices,
    real: httpx2.AsyncClient,
    events: Callable[[str], str],
    busy_run: str,
) -> None:
    heard = SeenVersions()
    reading = asyncio.create_task(read_stream(real, events(busy_run), seen=heard))
    await heard.until(4)
    services.stopping.set()
    async with asyncio.timeout(2):
        assert await reading == [1, 2, 3, 4]


@pytest.mark.parametrize("headers", [STREAM, {}])
async def test_events_of_a_run_that_is_not_there_are_a_404_however_asked_for(
    client: httpx2.AsyncClient, events: Callable[[str], str], headers: dict[str, str]
) -> None:
    response = await client.get(events("nobody"), headers=headers)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("last", ["-1", "x", "1.5", "99999999999999999999999"])
async def test_a_wrong_last_event_id_is_refused(
    client: httpx2.AsyncClient, events: Callable[[str], str], busy_run: str, last: str
) -> None:
    response = await client.get(events(busy_run), headers={**STREAM, "Last-Event-ID": last})
    assert response.status_code == 422
    assert "Last-Event-ID" in response.json()["detail"]
