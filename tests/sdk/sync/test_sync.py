from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from decimal import Decimal

import pytest
from pydantic import BaseModel

from perdure import (
    AsyncPerdure,
    NotFoundError,
    Perdure,
    PollTimeoutError,
    RunStatus,
    Service,
    StatusChange,
)
from perdure.sync.loop_thread import Portal, in_daemon_thread
from tests.sdk.api_double import KEY, ApiDouble


class Finding(BaseModel):
    customer: str
    revenue: Decimal
    why: str


def in_background(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_the_example_of_the_first_page_works_as_it_is_written(
    api: ApiDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERDURE_URL", api.url)
    monkeypatch.setenv("PERDURE_API_KEY", KEY)
    announced: list[str] = []
    queries: list[str] = []

    service = Service("sales")

    @service.function(timeout=30, retries=2)
    async def query_orders(sql: str) -> list[dict[str, object]]:
        """Run one read-only SQL query on the orders database."""
        queries.append(sql)
        return [{"customer": "Ada", "revenue": 12.5}]

    @service.on_status_change
    async def announce(change: StatusChange) -> None:
        announced.append(f"{change.run_id} {change.previous} -> {change.status}")

    def play() -> None:
        """What the server does: a call, a status change, a result."""
        api.wait_until(lambda: "run-1" in api.runs)
        api.call("sales.query_orders", {"sql": "select 1"})
        answer = api.result()["result"][0]
        change = {"previous": "pending", "status": "running", "transition": 2, "turn": 1}
        names = {"id": "run-1:2", "runId": "run-1", "clusterId": "c", "createdAt": "2026-01-01"}
        api.call("sales.announce", {**change, **names}, "call-2")
        api.result("call-2")
        api.runs["run-1"].change(status="done", result={**answer, "why": "more orders"})

    server = in_background(play)
    with Perdure() as client, service.running(client):
        run = client.create_run(
            "Which customer grew most this quarter, and why?",
            functions=[query_orders],
            result_schema=Finding,
            on_status_change=announce,
            metadata={"team": "sales"},
        )
        result = run.poll().result
    server.join()
    assert result == Finding(customer="Ada", revenue=Decimal("12.5"), why="more orders")
    assert queries == ["select 1"]
    assert announced == ["run-1 pending -> running"]


def test_every_method_has_its_synchronous_proxy(api: ApiDouble, sync_client: Perdure) -> None:
    run = sync_client.create_run("Hello")
    assert sync_client.identity().key_name == "test"
    assert sync_client.services() == []
    with pytest.raises(PollTimeoutError):
        run.poll(timeout=0)
    api.runs[run.id].change(status="running")
    assert run.refresh().status is RunStatus.RUNNING
    api.runs[run.id].change(status="paused")
    assert run.resume().status is RunStatus.RUNNING
    run.send("And?")
    assert [message.data["message"] for message in run.messages()] == ["And?"]
    assert run.cancel("enough").failure_reason == "enough"
    assert (run.id, run.status) == (run.snapshot.id, RunStatus.CANCELLED)
    assert [event.version for event in run.events()] == [2, 3, 4, 5]
    assert sync_client.cancel_run(run.id).status is RunStatus.CANCELLED
    assert [found.id for found in sync_client.list_runs()] == [run.id]
    assert sync_client.get_run(run.id).id == run.id
    with pytest.raises(NotFoundError):
        sync_client.get_run("nowhere")


def test_events_may_be_left_early(api: ApiDouble, sync_client: Perdure) -> None:
    run = sync_client.create_run("Hello")
    api.runs[run.id].change(status="running")
    for event in run.events():
        assert event.version == 2
        break
    api.runs[run.id].change(status="done", result=1)
    assert run.poll().result == 1


def test_a_client_serves_many_threads(api: ApiDouble, sync_client: Perdure) -> None:
    ids: list[str] = []
    threads = [
        in_background(lambda: ids.append(sync_client.create_run("Hello").id)) for _ in range(10)
    ]
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 10


def test_a_closed_client_says_so(api: ApiDouble) -> None:
    with Perdure(api.url, KEY) as client:
        client.identity()
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.identity()


def test_a_client_that_is_never_used_starts_no_thread(api: ApiDouble) -> None:
    before = threading.active_count()
    client = Perdure(api.url, KEY)
    assert threading.active_count() == before
    client.close()


def test_a_client_inside_its_own_async_function_is_distinguished_from_a_deadlock(
    api: ApiDouble, sync_client: Perdure
) -> None:
    service = Service("sales")

    @service.function
    async def ask() -> str:
        return sync_client.identity().cluster_id

    with service.running(sync_client):
        api.call("sales.ask", {})
        posted = api.result()
    assert posted["result"]["name"] == "RuntimeError"
    assert "use AsyncPerdure" in posted["result"]["message"]


def test_a_client_inside_a_blocking_function_works(api: ApiDouble, sync_client: Perdure) -> None:
    service = Service("sales")

    @service.function
    def ask() -> str:
        return sync_client.identity().key_name

    with service.running(sync_client):
        api.call("sales.ask", {})
        assert api.result()["result"] == "test"


async def test_a_service_runs_with_the_async_client_too(
    api: ApiDouble, client: AsyncPerdure
) -> None:
    service = Service("sales")
    loops: list[asyncio.AbstractEventLoop] = []

    @service.function
    async def note() -> None:
        loops.append(asyncio.get_running_loop())

    async with service.running(client):
        api.call("sales.note", {})
        await asyncio.to_thread(api.result)
    assert loops == [asyncio.get_running_loop()]


def test_a_body_that_raises_stops_the_service(api: ApiDouble, sync_client: Perdure) -> None:
    service = Service("sales")
    service.function(name="f")(lambda: 1)
    with pytest.raises(ZeroDivisionError), service.running(sync_client):
        raise ZeroDivisionError
    api.call("sales.f", {})
    assert len(api.waiting) == 1


def test_closing_ends_what_still_runs() -> None:
    portal = Portal()
    ended: list[str] = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    async def begin() -> asyncio.Task[None]:
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        return task

    portal.call(begin())
    portal.close()
    portal.close()
    assert ended == ["ended"]


async def test_a_thread_that_is_abandoned_disturbs_nobody() -> None:
    gate = threading.Event()
    ended = threading.Event()

    def work() -> None:
        gate.wait(10)
        ended.set()

    waiting = asyncio.create_task(in_daemon_thread(work))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.set()
    assert await asyncio.to_thread(ended.wait, 10)


def test_a_ctrl_c_while_the_thread_starts_leaves_no_coroutine_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        raise KeyboardInterrupt

    async def work() -> None: ...

    portal, coroutine = Portal(), work()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            portal.call(coroutine)
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
    portal.call(work())
    portal.close()


def test_a_ctrl_c_before_the_loop_has_the_coroutine_leaves_none_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    async def work() -> None: ...

    portal, coroutine = Portal(), work()
    portal.call(work())
    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        portal.call(coroutine)
    portal.close()
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
