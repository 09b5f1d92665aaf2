"""Calls without a model, and people's decisions, against the real API."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from orchestrator.store import tables
from orchestrator.store.database.json_columns import to_json
from orchestrator.workflows.interface import RunRef
from perdure import (
    ApprovalRequest,
    AsyncPerdure,
    CallFailedError,
    CallResultError,
    CallStatus,
    CallTimeoutError,
    ConflictError,
    Context,
    InvalidRequestError,
    NotFoundError,
    RunStatus,
    Service,
    approval_request,
)
from tests.sdk.with_api.machine import register, work
from tests.support.stage import Stage

shop = Service("shop")


class Price(BaseModel):
    cents: int


@shop.function(private=True)
def price(item: str, context: Context) -> dict[str, Any]:
    if item == "nothing":
        raise LookupError("no such item")
    return {"cents": len(item), "for": context.data.get("tenant")}


@shop.function
def text(length: int) -> str:
    return "x" * length


@shop.function
def pay(amount: int, context: Context) -> str | ApprovalRequest:
    if not context.approved:
        return approval_request(f"Pay {amount}?", expires=timedelta(hours=2))
    return f"paid {amount}"


@pytest.fixture(autouse=True)
async def offered(client: AsyncPerdure) -> None:
    await register(client, shop)


async def test_a_function_is_called_and_its_result_has_the_type_asked_for(
    client: AsyncPerdure, stage: Stage
) -> None:
    call = await client.call(price, {"item": "lamp"}, result_type=Price, context={"tenant": "acme"})
    assert (call.status, call.snapshot.input) == (CallStatus.PENDING, {"item": "lamp"})
    waiting = asyncio.create_task(call.poll(timeout=10))
    await work(client, stage, shop, call.snapshot)
    done = await waiting
    assert done.result == Price(cents=4)
    assert done.call.result == {"cents": 4, "for": "acme"}
    again = await client.get_call(call.id)
    assert (await again.poll()).result == {"cents": 4, "for": "acme"}


async def test_what_a_function_raised_is_an_error_with_its_message(
    client: AsyncPerdure, stage: Stage
) -> None:
    call = await client.call("shop.price", {"item": "nothing"})
    await work(client, stage, shop, call.snapshot)
    with pytest.raises(CallFailedError, match="LookupError: no such item") as failed:
        await call.poll()
    assert (failed.value.call.id, failed.value.call.status) == (call.id, CallStatus.FAILURE)


async def test_a_result_of_another_type_is_an_error(client: AsyncPerdure, stage: Stage) -> None:
    call = await client.call("shop.text", {"length": 2}, result_type=int)
    await work(client, stage, shop, call.snapshot)
    with pytest.raises(CallResultError, match="integer"):
        await call.poll()
    assert await call.original() == "xx"


@pytest.mark.parametrize("length", [0, 1_200_000])
async def test_a_result_is_whole_however_short_or_long(
    client: AsyncPerdure, stage: Stage, length: int
) -> None:
    call = await client.call(text, {"length": length}, result_type=str)
    await work(client, stage, shop, call.snapshot)
    assert (await call.poll()).result == "x" * length


async def test_a_call_that_takes_longer_goes_on(client: AsyncPerdure, stage: Stage) -> None:
    call = await client.call("shop.text", {"length": 1}, wait=0.1)
    with pytest.raises(CallTimeoutError) as late:
        await call.poll(timeout=0.1)
    assert isinstance(late.value, TimeoutError)
    assert (await call.refresh()).status is CallStatus.PENDING
    await work(client, stage, shop, call.snapshot)
    assert (await call.poll()).result == "x"


async def test_the_same_key_is_the_same_call(client: AsyncPerdure) -> None:
    calls = [
        await client.call("shop.text", {"length": 1}, idempotency_key="once") for _ in range(2)
    ]
    assert calls[0].id == calls[1].id


async def test_what_cannot_be_called_is_refused(client: AsyncPerdure) -> None:
    with pytest.raises(InvalidRequestError, match=r"write service\.function"):
        await client.call("shop_text")
    with pytest.raises(InvalidRequestError):
        await client.call("shop.nothing")
    with pytest.raises(InvalidRequestError) as refused:
        await client.call("shop.text", {"length": "long"})
    assert refused.value.errors[0].pointer.startswith("/input")
    with pytest.raises(InvalidRequestError, match="at most 20"):
        await client.call("shop.text", {"length": 1}, wait=21)
    with pytest.raises(InvalidRequestError, match="its context is not JSON"):
        await client.call("shop.text", {"length": 1}, context={"a": object()})
    with pytest.raises(NotFoundError):
        await client.get_call("01NOSUCHCALL")


async def test_a_call_is_cancelled_once(client: AsyncPerdure) -> None:
    call = await client.call("shop.text", {"length": 1})
    await call.cancel("not needed")
    with pytest.raises(CallFailedError, match="not needed"):
        await call.poll(timeout=5)
    with pytest.raises(ConflictError):
        await call.cancel()


async def _asking(client: AsyncPerdure, stage: Stage, amount: int = 7) -> tuple[RunRef, str]:
    """A run whose model called `pay`, which asks a person; the call's id."""
    ref = await stage.run()
    await stage.called(ref, "shop_pay")
    run = await client.get_run(ref.run_id)
    (made,) = await run.calls()
    made = made.model_copy(update={"input": {"amount": amount}})
    await stage.alter(tables.calls, tables.calls.c.id == made.id, input=to_json(made.input))
    await work(client, stage, shop, made)
    return ref, made.id


async def test_a_person_approves_with_other_arguments(client: AsyncPerdure, stage: Stage) -> None:
    ref, call_id = await _asking(client, stage)
    run = await client.get_run(ref.run_id)
    assert run.status is RunStatus.PAUSED
    (waiting,) = [one async for one in client.approvals()]
    assert (waiting.call_id, waiting.message, waiting.input) == (
        call_id,
        "Pay 7?",
        {"amount": 7},
    )
    said = await client.approve(waiting, {"amount": 5}, reason="half of it")
    assert (said.approved, said.reason, said.original_input) == (True, "half of it", {"amount": 7})
    assert [one async for one in client.approvals()] == []
    call = await client.get_call(call_id)
    await work(client, stage, shop, call.snapshot)
    assert (await call.poll()).result == "paid 5"
    with pytest.raises(ConflictError) as refused:
        await call.deny()
    assert refused.value.code in {"already_decided", "approval_closed"}


async def test_a_person_denies_and_the_model_is_notified(
    client: AsyncPerdure, stage: Stage
) -> None:
    ref, call_id = await _asking(client, stage)
    (waiting,) = await (await client.get_run(ref.run_id)).approvals()
    assert waiting.id == call_id
    assert (await client.deny(waiting, "too much")).approved is False
    with pytest.raises(CallFailedError, match="too much"):
        await (await client.get_call(call_id)).poll()
    assert await (await client.get_run(ref.run_id)).approvals() == []


async def test_a_call_decides_itself_by_its_handle(client: AsyncPerdure, stage: Stage) -> None:
    _, call_id = await _asking(client, stage)
    call = await client.get_call(call_id)
    assert call.status is CallStatus.INTERRUPTED
    with pytest.raises(InvalidRequestError):
        await call.approve({"amount": "all"})
    assert (await call.approve()).approved is True
    with pytest.raises(ConflictError) as refused:
        await client.approve(call_id)
    assert refused.value.code == "already_decided"
