"""The functions that the runs of the old state call. They record each call, so that tests can count."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta

from perdure import ApprovalRequest, CachePolicy, Context, Service, StatusChange, approval_request

MONTH = 30 * 86_400

stock = Service("stock")
"""Served while the old state is made, and by the tests."""
away = Service("away")
"""Registered while the old state is made, then stopped: its calls wait for the tests."""
till = Service("till")
"""Its calls wait for a person."""
default = Service("default")


@dataclass(frozen=True, slots=True)
class Made:
    """One execution of a function."""

    call_id: str
    function: str
    input: dict[str, object]
    context: dict[str, object]
    auth: dict[str, object]
    attempt: int


made: list[Made] = []
changes: list[StatusChange] = []
released = defaultdict[str, asyncio.Event](asyncio.Event)
"""By item: lets `count_slowly` return."""


def _record(context: Context, function: str, **given: object) -> None:
    made.append(
        Made(
            context.call_id,
            function,
            given,
            dict(context.data),
            dict(context.auth),
            context.attempt,
        )
    )


@stock.function(timeout=60)
def count(item: str, context: Context) -> int:
    """Count the pieces of an item."""
    _record(context, "count", item=item)
    return len(item)


@stock.function(timeout=86_400, deadline=MONTH, retries=1)
async def count_slowly(item: str, context: Context) -> int:
    """Count the pieces of an item once `released` says so."""
    _record(context, "count_slowly", item=item)
    await released[item].wait()
    return len(item)


@stock.function(timeout=60, cache=CachePolicy(key_path="$.item", ttl_seconds=MONTH), private=True)
def price(item: str, context: Context) -> float:
    """The price of an item."""
    _record(context, "price", item=item)
    return len(item) / 2


@stock.on_status_change
def watch(change: StatusChange) -> None:
    """Record the status change."""
    changes.append(change)


@away.function(timeout=60, deadline=MONTH, retries=2)
def pack(order: str, context: Context) -> dict[str, str]:
    """Pack an order."""
    _record(context, "pack", order=order)
    return {"packed": order}


@away.function(timeout=60, deadline=MONTH)
def whoami(context: Context) -> str:
    """The user whose run this is."""
    _record(context, "whoami")
    return str(context.auth["user"])


@away.on_status_change
def notice(change: StatusChange) -> None:
    """Record the status change."""
    changes.append(change)


@till.function(timeout=60, requires_approval=True, approval_expires=timedelta(days=30))
def wire(amount: int, context: Context) -> str:
    """Wire money: a person approves each call."""
    _record(context, "wire", amount=amount)
    return f"{amount} wired"


@till.function(timeout=60)
def refund(amount: int, context: Context) -> str | ApprovalRequest:
    """Pay money back: the function asks a person."""
    _record(context, "refund", amount=amount, approved=context.approved)
    if not context.approved:
        return approval_request(f"Refund {amount}?")
    return f"{amount} refunded"


@default.handle_custom_auth
def who(token: str) -> dict[str, str]:
    """Who has this token."""
    return {"user": {"token-of-ada": "ada"}[token]}
