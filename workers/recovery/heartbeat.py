"""Heartbeats for long activities, as a decorator."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from temporalio import activity

P = ParamSpec("P")
S = TypeVar("S")
R = TypeVar("R")


def heartbeating(
    body: Callable[Concatenate[S, P], Awaitable[R]],
) -> Callable[Concatenate[S, P], Awaitable[R]]:
    """Send a heartbeat every third of the heartbeat timeout. Its response delivers a cancellation.

    The heartbeat shows that the worker lives, not the provider: the model client ends a silent stream.
    """

    @wraps(body)
    async def beating(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        heart = asyncio.create_task(_beat())
        try:
            return await body(self, *args, **kwargs)
        finally:
            heart.cancel()

    return beating


async def _beat() -> None:
    timeout = activity.info().heartbeat_timeout
    if timeout is None:
        return
    while True:
        await asyncio.sleep(timeout.total_seconds() / 3)
        activity.heartbeat()
