"""The door between Temporal's task queues and the machines that wait for calls over HTTP.

While machines wait for a function, one poll per function and process is open at the Temporal server. A poll is
never cancelled when its machine leaves: it runs out, and what it brings goes to the next machine that waits, or
back to the queue as `NotDelivered`, which costs the function nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from api.dispatch.concurrency_gates import LOOK_AGAIN, Gates
from api.dispatch.crash_loops import CrashLoops
from orchestrator.errors import UnavailableError
from orchestrator.runtime.failpoints import Point, reach
from orchestrator.store.calls.execution import CallStore
from orchestrator.store.calls.outcomes import Full, HandedOut, Settled, Unwanted
from orchestrator.temporal.activity_tasks import (
    NOT_DELIVERED,
    UNWANTED,
    ActivityTask,
    ActivityTaskClient,
)
from orchestrator.temporal.in_flight_journal import InFlightJournal, InFlightTask
from perdure.contract import FunctionCall

_log = logging.getLogger(__name__)

HOLD_SECONDS = 0.25
"""How long a call that came too late for its machine is held for the next one before it goes back to the queue."""
BACK_SOON = 0.05
"""Seconds until a call that was not delivered is offered again."""
_BACK_OFF = (0.2, 0.5, 1.0)


@dataclass(slots=True, eq=False)
class _Waiting:
    """A machine at the door."""

    machine_id: str
    queues: frozenset[str]
    room: int
    pending: int = 0
    """Hand-outs to it that are being written."""
    calls: list[FunctionCall] = field(default_factory=list[FunctionCall])
    tokens: list[bytes] = field(default_factory=list[bytes])
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def wants(self, queue: str) -> bool:
        return queue in self.queues and self.room > 0


class CallDoor:
    """Hands calls to waiting machines, first come first served, each only what it asked for and has room for."""

    def __init__(
        self, queue: ActivityTaskClient, calls: CallStore, journal: InFlightJournal
    ) -> None:
        self._queue = queue
        self._calls = calls
        self._journal = journal
        self._gates = Gates(calls)
        self._crash_loops = CrashLoops()
        self._waiting: list[_Waiting] = []
        self._somebody_came = asyncio.Event()
        self._pollers: dict[str, asyncio.Task[None]] = {}

    async def take(
        self,
        machine_id: str,
        queues: Iterable[str],
        *,
        limit: int,
        wait: float,
        gone: asyncio.Event,
        gather: float = 0.0,
    ) -> list[FunctionCall]:
        """Calls for this machine: as soon as there is one, none after `wait` seconds or when it is `gone`.

        With `gather` further calls are awaited for that many seconds after the last one, up to `limit`: for clients
        that do not come back before everything they took is done. What was handed out to a machine that is gone goes
        back to its queue.
        """
        me = _Waiting(machine_id, frozenset(queues), limit)
        leaving = asyncio.create_task(_when(gone, me.changed))
        self._enter(me)
        try:
            await self._collect(me, wait, gather, gone)
        finally:
            me.room = 0
            leaving.cancel()
            while me.pending:  # what is being written as handed out to this machine must reach it
                me.changed.clear()
                await me.changed.wait()
            self._waiting.remove(me)
        if gone.is_set():
            await self._give_back(me)
            return []
        return me.calls

    @staticmethod
    async def _collect(me: _Waiting, wait: float, gather: float, gone: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        while me.room > 0 and not gone.is_set():
            me.changed.clear()
            if not await _within(deadline - loop.time(), me.changed):
                if not (gather and me.pending):
                    return
                # one is on its way: what is slow is the store, not the caller
                deadline = loop.time() + gather
            elif me.calls:
                deadline = loop.time() + gather
                if not gather:
                    return

    async def _give_back(self, machine: _Waiting) -> None:
        for token in machine.tokens:
            await self._queue.fail(
                token, NOT_DELIVERED, "the machine left before it was told", delay=BACK_SOON
            )

    def _enter(self, machine: _Waiting) -> None:
        self._waiting.append(machine)
        self._somebody_came.set()
        for queue in machine.queues:
            if queue not in self._pollers:
                poller = asyncio.create_task(self._poll(queue), name=queue)
                self._pollers[queue] = poller
                poller.add_done_callback(self._forget)

    def _forget(self, poller: asyncio.Task[None]) -> None:
        self._pollers.pop(poller.get_name(), None)

    def free(self, call_id: str | None = None) -> None:
        """A call has ended: there may be room for another one of its function. `call_id`: of one that was answered."""
        if call_id is not None:
            self._crash_loops.answered(call_id)
        self._gates.free()

    def is_waiting(self, machine_id: str) -> bool:
        """Whether this machine waits here for calls of any of its services."""
        return any(machine.machine_id == machine_id for machine in self._waiting)

    def _is_wanted(self, queue: str) -> bool:
        return any(machine.wants(queue) for machine in self._waiting)

    async def _poll(self, queue: str) -> None:
        """Poll while anybody waits for this queue."""
        failures = 0
        while self._is_wanted(queue):
            try:
                if self._crash_loops.is_pausing(queue) or not await self._gates.is_open(queue):
                    await self._gates.wait()
                    continue
                task = await self._queue.poll(queue)
                if task is not None:
                    with self._journal.record(InFlightTask(task.token, call=task.call)):
                        reach(Point.CALL_WAITING)
                        await self._deliver(queue, task)
                failures = 0
            except Exception as error:  # noqa: BLE001 # whatever it was, machines still wait
                level = logging.WARNING if isinstance(error, UnavailableError) else logging.ERROR
                _log.log(
                    level, "polling for calls fails: %s", error, exc_info=level > logging.WARNING
                )
                await asyncio.sleep(_BACK_OFF[min(failures, len(_BACK_OFF) - 1)])
                failures += 1

    async def _deliver(self, queue: str, task: ActivityTask) -> None:
        machine = await self._machine_for(queue)
        if machine is None:
            await self._queue.fail(
                task.token, NOT_DELIVERED, "no machine was waiting", delay=BACK_SOON
            )
            return
        machine.room -= 1
        machine.pending += 1
        try:
            await self._hand_out(queue, machine, task)
        except Exception:
            machine.room += 1
            await self._queue.fail(task.token, NOT_DELIVERED, "it could not be written", delay=1.0)
            raise
        finally:
            machine.pending -= 1
            machine.changed.set()

    async def _hand_out(self, queue: str, machine: _Waiting, task: ActivityTask) -> None:
        answer = await self._calls.hand_out(task.call, machine.machine_id, task.token)
        match answer:
            case HandedOut(call, limit):
                self._gates.learn(queue, limit)
                self._crash_loops.handed_out(call.id, queue, call.attempt)
                machine.calls.append(call)
                machine.tokens.append(task.token)
            case Full(limit):
                machine.room += 1
                self._gates.learn(queue, limit)
                await self._queue.fail(
                    task.token, NOT_DELIVERED, "as many are at work as may be", delay=LOOK_AGAIN
                )
            case Settled(outcome):
                machine.room += 1
                self._crash_loops.came_back(queue)
                await self._queue.complete(task.token, outcome)
            case Unwanted(reason):
                machine.room += 1
                await self._queue.fail(task.token, UNWANTED, reason, delay=None)

    async def _machine_for(self, queue: str) -> _Waiting | None:
        """The machine that has waited longest for this queue; a short while, for one that is just coming back."""
        deadline = asyncio.get_running_loop().time() + HOLD_SECONDS
        while True:
            for machine in self._waiting:
                if machine.wants(queue):
                    return machine
            self._somebody_came.clear()
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0 or not await _within(left, self._somebody_came):
                return None

    async def aclose(self) -> None:
        """End the open polls; what they bring meanwhile goes back to its queue."""
        for machine in list(self._waiting):
            machine.room = 0
            machine.changed.set()
        pollers = dict(self._pollers)
        if pollers:
            await asyncio.gather(*map(self._queue.shutdown_polls, pollers))
            await asyncio.wait(pollers.values())


async def _when(gone: asyncio.Event, wake: asyncio.Event) -> None:
    await gone.wait()
    wake.set()


async def _within(seconds: float, event: asyncio.Event) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
