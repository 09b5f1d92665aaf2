"""Nudges go out in their order, some at once; a burst does not drown the engine, and nothing is waited for at the end."""

from __future__ import annotations

import asyncio

from orchestrator.errors import UnavailableError
from orchestrator.temporal.signals import Nudges


class _Engine:
    """Takes nudges for as long as its gate is shut, and lets them go when it opens."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.begun: list[int] = []
        self.news = asyncio.Condition()
        self.taken: list[int] = []

    async def nudge(self, number: int) -> None:
        self.begun.append(number)
        async with self.news:
            self.news.notify_all()
        await self.gate.wait()
        if number == 0:
            raise UnavailableError("Temporal does not answer.")
        self.taken.append(number)

    async def has_begun(self, count: int) -> None:
        async with asyncio.timeout(10), self.news:
            await self.news.wait_for(lambda: len(self.begun) >= count)


async def test_a_burst_goes_out_some_at_once_in_its_order_and_a_lost_one_stops_none() -> None:
    engine, nudges = _Engine(), Nudges(at_once=2)
    for number in range(5):
        nudges.send(engine.nudge(number))
    await engine.has_begun(2)
    assert engine.begun == [0, 1]
    engine.gate.set()
    await engine.has_begun(5)
    await nudges.aclose()
    assert engine.taken == [1, 2, 3, 4]


async def test_what_is_under_way_at_the_end_finishes_and_the_rest_is_left_to_the_sweeper() -> None:
    engine, nudges = _Engine(), Nudges(at_once=2)
    for number in range(1, 6):
        nudges.send(engine.nudge(number))
    await engine.has_begun(2)
    closing = asyncio.create_task(nudges.aclose())
    await asyncio.sleep(0)
    engine.gate.set()
    await closing
    assert engine.taken == [1, 2]


async def test_more_than_may_wait_are_left_to_the_sweeper() -> None:
    engine, nudges = _Engine(), Nudges(at_once=1, max_waiting=2)
    for number in range(1, 10):
        nudges.send(engine.nudge(number))
    engine.gate.set()
    await engine.has_begun(3)
    await nudges.aclose()
    assert engine.begun == [1, 2, 3]
