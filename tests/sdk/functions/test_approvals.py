"""The function's side of an approval: asked for by a return value, known by the context."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from perdure import ApprovalRequest, AsyncPerdure, Context, Service, approval_request
from perdure.contract import FunctionConfig
from tests.sdk.api_double import ApiDouble
from tests.sdk.worker.serving import serving


@pytest.fixture
def service() -> Service:
    service = Service("sales")

    @service.function
    def pay(amount: int, context: Context) -> str | ApprovalRequest:
        """Pay, if somebody says so."""
        if not context.approved:
            return approval_request(f"Pay {amount}?", expires=timedelta(hours=2))
        return f"paid {amount}"

    @service.function
    async def simple() -> ApprovalRequest:
        return approval_request()

    return service


async def test_a_function_that_asks_posts_an_interrupt(
    api: ApiDouble, client: AsyncPerdure, service: Service
) -> None:
    async with serving(client, service):
        api.call("sales.pay", {"amount": 7})
        api.call("sales.simple", {}, "call-2")
        asked = await asyncio.to_thread(api.result)
        simply = await asyncio.to_thread(api.result, "call-2")
    assert (asked["resultType"], asked["attempt"]) == ("interrupt", 1)
    assert asked["result"] == {"type": "approval", "message": "Pay 7?", "expiresSeconds": 7200.0}
    assert (simply["resultType"], simply["result"]) == ("interrupt", {"type": "approval"})


async def test_a_function_knows_that_its_call_was_approved(
    api: ApiDouble, client: AsyncPerdure, service: Service
) -> None:
    async with serving(client, service):
        api.call("sales.pay", {"amount": 7}, approved=True)
        done = await asyncio.to_thread(api.result)
    assert (done["resultType"], done["result"]) == ("resolution", "paid 7")


def test_a_function_may_be_marked() -> None:
    service = Service("sales")

    @service.function(requires_approval=True, approval_expires=timedelta(days=1))
    def pay() -> None: ...

    @service.function
    def look() -> None: ...

    config = pay.definition.config
    assert config == FunctionConfig(requires_approval=True, approval_expires_seconds=86_400.0)
    assert look.definition.config == FunctionConfig()


@pytest.mark.parametrize("expires", [timedelta(0), timedelta(seconds=-1), timedelta(days=91)])
def test_a_time_to_wait_has_limits(expires: timedelta) -> None:
    with pytest.raises(ValueError, match="90 days at most"):
        approval_request(expires=expires)
    with pytest.raises(ValueError, match=r"^approval_expires is"):
        Service("sales").function(approval_expires=expires)


def test_a_message_has_a_limit() -> None:
    assert approval_request("x" * 4096).message == "x" * 4096
    with pytest.raises(ValueError, match="at most 4096"):
        approval_request("x" * 4097)
