"""Wake-ups are sent in their order, some at the same time; a burst does not drown Temporal, and the end waits for none."""

from __future__ import annotations

import asyncio

from typing_extensions import override

from orchestrator.errors import UnavailableError
from orchestrator.settings import Settings
from orchestrator.temporal.client import Temporal
from orchestrator.temporal.signals import WakeupSender
from orchestrator.workflows.interface import RunRef
from orchestrator.workflows.wakeups import Wakeup, WakeupKind


class _Engine(Temporal):
    """Holds requests while its gate is shut, and answers them when it opens."""

    def __init__(self) -> None:
        super().__init__(Settings())
        self.gate = asyncio.Event()
        self.begun: list[int] = []
        self.news = asyncio.Condition()
        self.taken: list[int] = []

    @override
    async def signal_run(self, ref: RunRef) -> None:
        number = int(ref.run_id)
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


def _signals(numbers: range) -> list[Wakeup]:
    return [Wakeup(WakeupKind.RUN, RunRef("cluster", str(number))) for number in numbers]


async def test_a_burst_goes_out_some_at_once_in_its_order_and_a_lost_one_stops_none() -> None:
    engine = _Engine()
    sender = WakeupSender(engine, max_concurrent=2)
    sender.send(_signals(range(5)))
    await engine.has_begun(2)
    assert engine.begun == [0, 1]
    engine.gate.set()
    await engine.has_begun(5)
    await sender.aclose()
    assert engine.taken == [1, 2, 3, 4]


async def test_what_is_under_way_at_the_end_finishes_and_the_rest_is_left_to_the_sweeper() -> None:
    engine = _Engine()
    sender = WakeupSender(engine, max_concurrent=2)
    sender.send(_signals(range(1, 6)))
    await engine.has_begun(2)
    closing = asyncio.create_task(sender.aclose())
    await asyncio.sleep(0)
    engine.gate.set()
    await closing
    assert engine.taken == [1, 2]


async def test_more_than_may_wait_are_left_to_the_sweeper() -> None:
    engine = _Engine()
    sender = WakeupSender(engine, max_concurrent=1, max_waiting=2)
    sender.send(_signals(range(1, 10)))
    engine.gate.set()
    await engine.has_begun(3)
    await sender.aclose()
    assert engine.begun == [1, 2, 3]
