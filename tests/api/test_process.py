"""The process as a whole: how it starts without Temporal, and how it ends."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Generator
from pathlib import Path

import httpx2
import pytest

from tests.support.api_process import ApiProcess, api_process


@pytest.fixture
def process(processes: None, tmp_path: Path) -> Generator[ApiProcess]:
    with api_process(tmp_path) as started:
        yield started


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_whoever_waits_is_answered_before_the_process_ends(
    process: ApiProcess, signum: signal.Signals
) -> None:
    """A long poll, a machine that waits for calls and a stream are open when the signal comes."""
    async with httpx2.AsyncClient(
        base_url=process.url, headers=process.headers, timeout=40
    ) as client:
        cluster = f"/clusters/{process.cluster}"
        run = (await client.post(f"{cluster}/runs", json={"initialPrompt": "[]"})).json()["id"]
        me = {"x-machine-id": "m"}
        await client.post(
            "/machines", json={"service": "s", "functions": [{"name": "f"}]}, headers=me
        )
        waiting = [
            asyncio.create_task(client.get(f"{cluster}/runs/{run}", params={"wait": 30})),
            asyncio.create_task(
                client.get(f"{cluster}/calls", params={"service": "s", "wait": 20}, headers=me)
            ),
            asyncio.create_task(
                client.get(f"{cluster}/runs/{run}/events", headers={"Accept": "text/event-stream"})
            ),
        ]
        done, pending = await asyncio.wait(waiting, timeout=0.5)
        assert not done, [task.result().text for task in done]
        assert len(pending) == 3
        process.process.send_signal(signum)
        async with asyncio.timeout(3):
            poll, calls, stream = await asyncio.gather(*waiting)
    assert (poll.status_code, poll.json()["version"]) == (200, 1)
    assert (calls.status_code, calls.json()) == (200, [])
    assert "the server shuts down" in stream.text
    assert await asyncio.to_thread(process.process.wait, 10) in {0, -signum}


async def test_it_starts_reads_and_accepts_while_temporal_is_away(process: ApiProcess) -> None:
    async with httpx2.AsyncClient(base_url=process.url, headers=process.headers) as client:
        assert (await client.get("/ready")).json()["missing"] == ["temporal"]
        runs = f"/clusters/{process.cluster}/runs"
        made = await client.post(runs, json={"initialPrompt": "[]"})
        assert made.status_code == 201
        assert (await client.get(f"{runs}/{made.json()['id']}")).json() == made.json()


async def test_it_does_not_say_what_it_is_made_of(process: ApiProcess) -> None:
    async with httpx2.AsyncClient(base_url=process.url) as client:
        assert "server" not in (await client.get("/live")).headers
