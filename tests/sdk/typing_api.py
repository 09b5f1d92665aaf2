"""The types that users see. Never run: the type checkers read it, and a lost overload fails them."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import timedelta
from typing import Any, assert_type

from pydantic import BaseModel, JsonValue, TypeAdapter

from perdure import (
    ApprovalRequest,
    AsyncCall,
    AsyncPerdure,
    AsyncRun,
    BlobData,
    Budget,
    CachePolicy,
    Call,
    CallResult,
    Context,
    Event,
    Function,
    Handler,
    Message,
    PausedFor,
    PendingApproval,
    Perdure,
    RetryPolicy,
    Run,
    RunConfigReference,
    RunResult,
    Scope,
    Service,
    StatusChange,
    StatusChangeHandler,
    Webhook,
    approval_request,
    blob,
)
from perdure.contract import CallApproval, Cluster, RunConfig


class Finding(BaseModel):
    customer: str


service = Service("sales")


@service.function
async def bare(sql: str, context: Context) -> list[str]:
    return [sql, context.run_id]


@service.function(timeout=30, retries=2, concurrency=3)
def configured(number: int) -> int:
    return number


@service.function(requires_approval=True, approval_expires=timedelta(hours=1))
def asks(amount: int, context: Context) -> str | ApprovalRequest:
    return "paid" if context.approved else approval_request("Pay?", expires=timedelta(days=2))


@service.function(
    cache=CachePolicy(key_path="$", ttl_seconds=5), retry=RetryPolicy(), fan_out=2, private=True
)
def draws(title: str) -> dict[str, BlobData]:
    return {"chart": blob(title, "image/png", b"")}


@Service("default").handle_custom_auth
def who(token: str) -> dict[str, str]:
    return {"user": token}


@service.on_status_change
async def announce(change: StatusChange) -> None: ...


@service.on_status_change(name="other", timeout=5)
def announce_too(change: StatusChange) -> int:
    return change.turn


def functions(context: Context, change: StatusChange) -> None:
    assert_type(bare.reference.service, str)
    number: Function[..., int] = configured
    assert_type(number(), int)
    assert_type(configured(1), int)
    assert_type(draws("t"), dict[str, BlobData])
    assert_type(who("t"), dict[str, str])
    assert_type(context.auth, Mapping[str, JsonValue])
    assert_type(asks(1, context), str | ApprovalRequest)
    handler: StatusChangeHandler[[StatusChange], Awaitable[None]] = announce
    plain: Function[..., Any] = handler
    assert_type(announce_too(change), int)
    del plain


def sync_proxy(client: Perdure) -> None:
    typed = client.create_run("?", result_schema=Finding, functions=[bare, configured, "a_b"])
    assert_type(typed, Run[Finding])
    assert_type(typed.poll(), RunResult[Finding])
    assert_type(typed.poll(timeout=1).result, Finding | None)
    assert_type(typed.poll().unwrap(), Finding)
    assert_type(client.create_run("?", result_schema=list[Finding]), Run[list[Finding]])
    union: TypeAdapter[int | str] = TypeAdapter(int | str)
    assert_type(client.create_run("?", result_schema=union), Run[int | str])
    assert_type(client.create_run("?", result_schema={"type": "object"}), Run[JsonValue])
    assert_type(client.create_run("?", on_status_change=announce), Run[JsonValue])
    assert_type(client.get_run("run", result_schema=Finding), Run[Finding])
    assert_type(client.get_run("run"), Run[JsonValue])
    assert_type(next(typed.events()), Event)
    assert_type(next(client.list_runs()), Run[JsonValue])
    assert_type(client.list_runs(tags=["a"], test=None), Iterator[Run[JsonValue]])
    assert_type(service.running(client), AbstractContextManager[None])


def sync_options(client: Perdure) -> None:
    client.create_run(
        config=RunConfigReference(id="greeting", version=2),
        input={"name": "Ada"},
        on_status_change=Handler(announce, statuses=["done"]),
        deadline=timedelta(hours=1),
        budget=Budget(usd=1.5),
        priority=1,
        tags=["a"],
        mocks={configured: 7, "sales_bare": None},
    )
    client.create_run("?", on_status_change=Webhook("https://example.com"), test=True)


def sync_nouns(client: Perdure, run: Run[JsonValue]) -> None:
    assert_type(client.call(configured, {"number": 1}, result_type=int), Call[int])
    assert_type(client.call("sales.configured"), Call[JsonValue])
    assert_type(client.call("sales.configured", result_type=Finding).poll().result, Finding)
    assert_type(client.get_call("call", result_type=int).poll(timeout=1), CallResult[int])
    assert_type(next(client.approvals()), PendingApproval)
    assert_type(client.structured_output("?", Finding), Finding)
    assert_type(client.structured_output("?", {"type": "integer"}), JsonValue)
    assert_type(client.read_blob("blob"), bytes)
    assert_type(next(client.run_configs.list(limit=1)), RunConfig)
    assert_type(client.run_configs.create("Greeting", input_schema=Finding), RunConfig)
    assert_type(client.api_keys.create("ci", [Scope.CLIENT]).key, str)
    assert_type(client.clusters.update(description=None), Cluster)
    assert_type(run.edit_message("message", "text"), Message)
    assert_type(run.resume(Budget(tokens=5)).paused_for, PausedFor | None)
    assert_type(next(run.events()), Event)
    assert_type(run.feedback(score=1), None)


async def async_client(client: AsyncPerdure) -> None:
    typed = await client.create_run("?", result_schema=Finding, metadata={"a": "b"})
    assert_type(typed, AsyncRun[Finding])
    assert_type((await typed.poll()).result, Finding | None)
    assert_type(await client.create_run("?", result_schema=True), AsyncRun[JsonValue])
    assert_type(await client.create_run("?"), AsyncRun[JsonValue])
    assert_type(await client.get_run("run", result_schema=Finding), AsyncRun[Finding])
    async for event in typed.events(after=3):
        assert_type(event, Event)
    async for run in client.list_runs(status="done"):
        assert_type(run, AsyncRun[JsonValue])
    assert_type(await client.call(bare, result_type=list[str]), AsyncCall[list[str]])
    assert_type(await client.structured_output("?", list[int]), list[int])
    async for waiting in client.approvals():
        assert_type(await client.deny(waiting, "no"), CallApproval)
    assert_type(service.running(client), AbstractAsyncContextManager[None])
