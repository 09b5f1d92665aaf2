"""Calls on their whole way: through the API, a real Temporal server, a Temporal worker, and machines that poll."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError

from api.__main__ import open_services
from api.app import create_app
from api.dependencies import ApiServices
from orchestrator.runtime.clock import now_ms
from orchestrator.runtime.ids import new_id
from orchestrator.settings import Settings
from orchestrator.store import tables
from orchestrator.store.recovery.stalled_runs import LOST_AFTER_MS
from tests.support.temporal_server import connected
from workers.__main__ import work

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(slots=True)
class Full:
    """Two replicas of the API over one store, and the requests of one key."""

    replicas: list[ApiServices]
    clients: list[httpx2.AsyncClient]
    cluster: str

    @property
    def path(self) -> str:
        return f"/clusters/{self.cluster}/calls"

    async def register(self, machine: str, *, replica: int = 0, **config: Any) -> None:
        functions = [{"name": "query", "config": {"private": True, **config}}]
        response = await self.clients[replica].post(
            "/machines",
            json={"service": "sales", "functions": functions},
            headers={"x-machine-id": machine},
        )
        assert response.status_code == 200, response.text

    async def call(self, number: int, *, wait: float = 0) -> dict[str, Any]:
        body = {"service": "sales", "function": "query", "input": {"number": number}}
        response = await self.clients[0].post(self.path, json=body, params={"wait": wait})
        assert response.status_code == 201, response.text
        made: dict[str, Any] = response.json()
        return made

    async def poll(self, machine: str, *, replica: int = 0, limit: int = 1) -> list[dict[str, Any]]:
        response = await self.clients[replica].get(
            self.path,
            params={"service": "sales", "limit": limit, "wait": 5},
            headers={"x-machine-id": machine},
        )
        assert response.status_code == 200, response.text
        taken: list[dict[str, Any]] = response.json()
        return taken

    async def answer(
        self, machine: str, call: dict[str, Any], result: object, *, replica: int = 0
    ) -> int:
        response = await self.clients[replica].post(
            f"{self.path}/{call['id']}/result",
            json={"result": result, "resultType": "resolution", "attempt": call["attempt"]},
            headers={"x-machine-id": machine},
        )
        return response.status_code

    async def work(
        self,
        machine: str,
        handle: Callable[[dict[str, Any]], Awaitable[object]],
        *,
        replica: int = 0,
        limit: int = 1,
    ) -> None:
        """Be a machine, until cancelled: take calls, handle them, answer them."""
        while True:
            taken = await self.poll(machine, replica=replica, limit=limit)

            async def one(call: dict[str, Any]) -> None:
                result = await handle(call)
                assert await self.answer(machine, call, result, replica=replica) == 204

            await asyncio.gather(*(one(call) for call in taken))

    async def ended(self, call: dict[str, Any]) -> dict[str, Any]:
        response = await self.clients[0].get(f"{self.path}/{call['id']}", params={"wait": 20})
        seen: dict[str, Any] = response.json()
        assert seen["finishedAt"] is not None, seen
        return seen


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replicas(
    temporal_address: str, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[list[ApiServices]]:
    """Two replicas of the API and a Temporal worker over one store."""
    await connected(temporal_address)
    path = tmp_path_factory.mktemp("full") / "perdure.db"
    shutil.copyfile(sqlite_template, path)
    settings = Settings(
        database_url=f"sqlite:///{path}",
        temporal_address=temporal_address,
        default_model="scripted/inline",
        sweep_seconds=0.5,
    )
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(open_services(settings)) for _ in range(2)]
        worker = asyncio.create_task(work(settings, stop))
        yield opened
        for services in opened:
            services.stopping.set()
        stop.set()
        await worker


@pytest_asyncio.fixture(loop_scope="module")
async def full(replicas: list[ApiServices]) -> AsyncGenerator[Full]:
    """A cluster of its own."""
    cluster = await replicas[0].store.keys.ensure_cluster(new_id())
    _, key = await replicas[0].store.keys.create(cluster, "tests")
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                httpx2.AsyncClient(
                    transport=httpx2.ASGITransport(create_app(services)),
                    base_url="http://api",
                    headers={"Authorization": f"Bearer {key}"},
                    timeout=30,
                )
            )
            for services in replicas
        ]
        yield Full(replicas, clients, cluster)


@contextlib.asynccontextmanager
async def working(*machines: Awaitable[None]) -> AsyncGenerator[None]:
    """Machines at work; what goes wrong in one fails the test."""
    tasks = [asyncio.ensure_future(machine) for machine in machines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    problems = [one for one in ended if not isinstance(one, asyncio.CancelledError)]
    assert problems == []


async def test_a_direct_call_waits_for_what_the_function_returns(full: Full) -> None:
    await full.register("m1")

    async def handle(call: dict[str, Any]) -> object:
        return {"seen": call["input"]}

    async with working(full.work("m1", handle)):
        made = await full.call(7, wait=20)
    assert (made["status"], made["result"]) == ("success", {"seen": {"number": 7}})
    run = await full.clients[0].get(f"/clusters/{full.cluster}/runs/{made['runId']}")
    assert (run.json()["status"], run.json()["usage"]["modelCalls"]) == ("done", 0)


async def test_one_machine_with_room_for_one_takes_calls_in_their_order(full: Full) -> None:
    await full.register("m1")
    made = [await _queued(full, number) for number in range(8)]
    taken: list[int] = []

    async def handle(call: dict[str, Any]) -> object:
        taken.append(call["input"]["number"])
        return None

    async with working(full.work("m1", handle)):
        for call in made:
            await full.ended(call)
    assert taken == list(range(8))


async def _queued(full: Full, number: int) -> dict[str, Any]:
    """Make a call, and wait until its activity stands in Temporal's queue: so its place is known."""
    made = await full.call(number)
    client = await full.replicas[0].temporal.client()
    handle = client.get_workflow_handle(f"run/{full.cluster}/{made['runId']}")
    async with asyncio.timeout(20):
        while not await _is_pending(handle):  # noqa: ASYNC110 - the server offers nothing to wait for
            await asyncio.sleep(0.01)
    return made


async def _is_pending(handle: WorkflowHandle[Any, Any]) -> bool:
    try:
        description = await handle.describe()
    except RPCError:  # not started yet
        return False
    return bool(description.raw_description.pending_activities)


async def test_a_limit_holds_over_two_replicas_and_everything_is_done(full: Full) -> None:
    for replica, machine in enumerate(("m1", "m2")):
        await full.register(machine, replica=replica, concurrency=2)
    at_work, most = 0, 0

    async def handle(call: dict[str, Any]) -> object:
        nonlocal at_work, most
        at_work, most = at_work + 1, max(most, at_work + 1)
        await asyncio.sleep(0.05)
        at_work -= 1
        return call["input"]["number"]

    made = [await full.call(number) for number in range(10)]
    async with working(
        full.work("m1", handle, limit=10), full.work("m2", handle, replica=1, limit=10)
    ):
        results = [(await full.ended(call))["result"] for call in made]
    assert results == list(range(10))
    assert most == 2


async def test_with_a_limit_of_one_calls_still_come_in_their_order(full: Full) -> None:
    await full.register("m1", concurrency=1)
    made = [await _queued(full, number) for number in range(5)]
    taken: list[int] = []

    async def handle(call: dict[str, Any]) -> object:
        taken.append(call["input"]["number"])
        await asyncio.sleep(0.02)
        return None

    async with working(full.work("m1", handle, limit=10)):
        for call in made:
            await full.ended(call)
    assert taken == list(range(5))
    rows = [await full.replicas[0].store.call_queries.get(full.cluster, c["id"]) for c in made]
    assert [row.call.handouts for row in rows] == [1] * 5


async def test_a_cancelled_call_stops_its_function_and_ends_its_workflow(full: Full) -> None:
    await full.register("m1")
    made = await full.call(1)
    (taken,) = await full.poll("m1")
    path = f"{full.path}/{made['id']}"
    heartbeat: dict[str, Any] = {"json": {"attempt": 1}, "headers": {"x-machine-id": "m1"}}
    assert (await full.clients[0].post(f"{path}/heartbeat", **heartbeat)).json() == {
        "cancelled": False
    }
    await full.clients[1].post(f"{path}/cancel", json={"reason": "enough"})
    assert (await full.clients[0].post(f"{path}/heartbeat", **heartbeat)).json() == {
        "cancelled": True
    }
    assert await full.answer("m1", taken, "late") == 409
    client = await full.replicas[0].temporal.client()
    async with asyncio.timeout(20):
        await client.get_workflow_handle(f"run/{full.cluster}/{made['runId']}").result()


async def test_a_lease_that_died_with_its_replica_is_made_by_another_machine(full: Full) -> None:
    """The API wrote it down and went: nobody knows of it, and the function's timeout is an hour."""
    silent = {"x-machine-id": "m1", "x-machine-sdk-version": "0.30.61"}
    registered = await full.clients[0].post(
        "/machines",
        json={
            "service": "sales",
            "functions": [
                {
                    "name": "query",
                    "schema": '{"type":"object","properties":{}}',
                    "config": {"timeoutSeconds": 3_600},
                }
            ],
        },
        headers=silent,
    )
    assert registered.status_code == 200
    made = await full.call(1)
    door, gone = full.replicas[0].dispatcher, asyncio.Event()
    (lost,) = await door.poll(
        "m1", [f"{full.cluster}/sales/query"], limit=1, wait=10, disconnected=gone
    )  # and the answer is never written
    assert lost.id == made["id"]
    calls = tables.calls
    async with full.replicas[0].store.database.write() as write:
        earlier = now_ms() - LOST_AFTER_MS - 1
        await write.execute(
            calls.update().where(calls.c.id == lost.id).values(handed_out_at=earlier)
        )
    await full.register("m2", timeoutSeconds=3_600)

    async def handle(call: dict[str, Any]) -> object:
        return call["attempt"]

    async with working(full.work("m2", handle)):
        assert (await full.ended(made))["result"] == 2
