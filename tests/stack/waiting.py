"""Waiting in an event loop until something becomes true."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(question: Callable[[], object], patience: float = 20.0) -> None:
    """Returns once the answer is true; raises TimeoutError when it never is."""
    async with asyncio.timeout(patience):
        while not question():  # noqa: ASYNC110 - other processes set no event here
            await asyncio.sleep(0.01)
