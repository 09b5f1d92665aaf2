"""The types that users see. Never run: the type checkers read it, and a lost overload fails them."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import timedelta
from typing import Any, assert_type

from pydantic import BaseModel, JsonValue, TypeAdapter

from perdure import (
    ApprovalRequest,
    AsyncPerdure,
    AsyncRun,
    Context,
    Event,
    Function,
    Perdure,
    Run,
    RunResult,
    Service,
    StatusChange,
    StatusChangeHandler,
    approval_request,
)


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
    assert_type(asks(1, context), str | ApprovalRequest)
    handler: StatusChangeHandler[[StatusChange], Awaitable[None]] = announce
    plain: Function[..., Any] = handler
    assert_type(announce_too(change), int)
    del plain


def sync_face(client: Perdure) -> None:
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
    assert_type(service.running(client), AbstractContextManager[None])


async def async_face(client: AsyncPerdure) -> None:
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
    assert_type(service.running(client), AbstractAsyncContextManager[None])
