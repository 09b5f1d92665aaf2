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

from api.dispatch.concurrency_gates import RECHECK_DELAY, ConcurrencyGates
from api.dispatch.crash_loops import CrashLoopTracker
from orchestrator.errors import UnavailableError
from orchestrator.runtime.failpoints import Point, reach
from orchestrator.store.calls.execution import CallStore
from orchestrator.store.calls.outcomes import AtCapacity, Completed, Discarded, Leased
from orchestrator.temporal.activity_tasks import (
    NOT_DELIVERED,
    UNWANTED,
    ActivityTask,
    ActivityTaskClient,
)
from orchestrator.temporal.in_flight_journal import InFlightJournal, InFlightTask
from perdure.contract import FunctionCall

_log = logging.getLogger(__name__)

HOLD_FOR_NEXT_POLL = 0.25
"""How long a call that came too late for its machine is held for the next one before it goes back to the queue."""
REQUEUE_DELAY = 0.05
"""Seconds until a call that was not delivered is offered again."""
_BACK_OFF = (0.2, 0.5, 1.0)


@dataclass(slots=True, eq=False)
class _WaitingWorker:
    """A machine at the door."""

    machine_id: str
    queues: frozenset[str]
    capacity: int
    pending: int = 0
    """Leases to it that are being written."""
    calls: list[FunctionCall] = field(default_factory=list[FunctionCall])
    tokens: list[bytes] = field(default_factory=list[bytes])
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def accepts(self, queue: str) -> bool:
        return queue in self.queues and self.capacity > 0


class CallDispatcher:
    """Hands calls to waiting machines, first come first served, each only what it asked for and has room for."""

    def __init__(
        self, activity_tasks: ActivityTaskClient, calls: CallStore, journal: InFlightJournal
    ) -> None:
        self._activity_tasks = activity_tasks
        self._calls = calls
        self._journal = journal
        self._gates = ConcurrencyGates(calls)
        self._crash_loops = CrashLoopTracker()
        self._waiting_workers: list[_WaitingWorker] = []
        self._worker_arrived = asyncio.Event()
        self._pollers: dict[str, asyncio.Task[None]] = {}

    async def poll(
        self,
        machine_id: str,
        queues: Iterable[str],
        *,
        limit: int,
        wait: float,
        disconnected: asyncio.Event,
        batch_seconds: float = 0.0,
    ) -> list[FunctionCall]:
        """Calls for this machine: as soon as there is one, none after `wait` seconds or when it is `disconnected`.

        With `batch_seconds` further calls are awaited for that many seconds after the last one, up to `limit`: for clients
        that do not come back before everything they took is done. What was handed out to a machine that is gone goes
        back to its queue.
        """
        worker = _WaitingWorker(machine_id, frozenset(queues), limit)
        watcher = asyncio.create_task(_set_after(disconnected, worker.changed))
        self._add_worker(worker)
        try:
            await self._collect(worker, wait, batch_seconds, disconnected)
        finally:
            worker.capacity = 0
            watcher.cancel()
            while (
                worker.pending
            ):  # what is being written as handed out to this machine must reach it
                worker.changed.clear()
                await worker.changed.wait()
            self._waiting_workers.remove(worker)
        if disconnected.is_set():
            await self._requeue(worker)
            return []
        return worker.calls

    @staticmethod
    async def _collect(
        worker: _WaitingWorker, wait: float, batch_seconds: float, disconnected: asyncio.Event
    ) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        while worker.capacity > 0 and not disconnected.is_set():
            worker.changed.clear()
            if not await _within(deadline - loop.time(), worker.changed):
                if not (batch_seconds and worker.pending):
                    return
                # one is on its way: what is slow is the store, not the caller
                deadline = loop.time() + batch_seconds
            elif worker.calls:
                deadline = loop.time() + batch_seconds
                if not batch_seconds:
                    return

    async def _requeue(self, worker: _WaitingWorker) -> None:
        for token in worker.tokens:
            await self._activity_tasks.fail(
                token,
                NOT_DELIVERED,
                "the function worker disconnected before the response",
                delay=REQUEUE_DELAY,
            )

    def _add_worker(self, worker: _WaitingWorker) -> None:
        self._waiting_workers.append(worker)
        self._worker_arrived.set()
        for queue in worker.queues:
            if queue not in self._pollers:
                poller = asyncio.create_task(self._poll_task_queue(queue), name=queue)
                self._pollers[queue] = poller
                poller.add_done_callback(self._remove_poller)

    def _remove_poller(self, poller: asyncio.Task[None]) -> None:
        self._pollers.pop(poller.get_name(), None)

    def release(self, call_id: str | None = None) -> None:
        """A call has ended: there may be room for another one of its function. `call_id`: of one that was answered."""
        if call_id is not None:
            self._crash_loops.record_result(call_id)
        self._gates.release()

    def is_waiting(self, machine_id: str) -> bool:
        """Whether this machine waits here for calls of any of its services."""
        return any(machine.machine_id == machine_id for machine in self._waiting_workers)

    def _has_demand(self, queue: str) -> bool:
        return any(machine.accepts(queue) for machine in self._waiting_workers)

    async def _poll_task_queue(self, queue: str) -> None:
        """Poll while anybody waits for this queue."""
        failures = 0
        while self._has_demand(queue):
            try:
                if self._crash_loops.is_pausing(queue) or not await self._gates.is_open(queue):
                    await self._gates.wait()
                    continue
                task = await self._activity_tasks.poll(queue)
                if task is not None:
                    with self._journal.record(InFlightTask(task.token, call=task.call)):
                        reach(Point.CALL_WAITING)
                        await self._dispatch(queue, task)
                failures = 0
            except Exception as error:  # noqa: BLE001 # whatever it was, machines still wait
                level = logging.WARNING if isinstance(error, UnavailableError) else logging.ERROR
                _log.log(
                    level, "polling for calls fails: %s", error, exc_info=level > logging.WARNING
                )
                await asyncio.sleep(_BACK_OFF[min(failures, len(_BACK_OFF) - 1)])
                failures += 1

    async def _dispatch(self, queue: str, task: ActivityTask) -> None:
        worker = await self._next_worker(queue)
        if worker is None:
            await self._activity_tasks.fail(
                task.token, NOT_DELIVERED, "no machine was waiting", delay=REQUEUE_DELAY
            )
            return
        worker.capacity -= 1
        worker.pending += 1
        try:
            await self._lease(queue, worker, task)
        except Exception:
            worker.capacity += 1
            await self._activity_tasks.fail(
                task.token, NOT_DELIVERED, "it could not be written", delay=1.0
            )
            raise
        finally:
            worker.pending -= 1
            worker.changed.set()

    async def _lease(self, queue: str, worker: _WaitingWorker, task: ActivityTask) -> None:
        outcome = await self._calls.lease(task.call, worker.machine_id, task.token)
        match outcome:
            case Leased(call, limit):
                self._gates.set_limit(queue, limit)
                self._crash_loops.record_lease(call.id, queue, call.attempt)
                worker.calls.append(call)
                worker.tokens.append(task.token)
            case AtCapacity(limit):
                worker.capacity += 1
                self._gates.set_limit(queue, limit)
                await self._activity_tasks.fail(
                    task.token, NOT_DELIVERED, "as many are at work as may be", delay=RECHECK_DELAY
                )
            case Completed(call_outcome):
                worker.capacity += 1
                self._crash_loops.record_lost(queue)
                await self._activity_tasks.complete(task.token, call_outcome)
            case Discarded(reason):
                worker.capacity += 1
                await self._activity_tasks.fail(task.token, UNWANTED, reason, delay=None)

    async def _next_worker(self, queue: str) -> _WaitingWorker | None:
        """The machine that has waited longest for this queue; a short while, for one that is just coming back."""
        deadline = asyncio.get_running_loop().time() + HOLD_FOR_NEXT_POLL
        while True:
            for machine in self._waiting_workers:
                if machine.accepts(queue):
                    return machine
            self._worker_arrived.clear()
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0 or not await _within(left, self._worker_arrived):
                return None

    async def aclose(self) -> None:
        """End the open polls; what they bring meanwhile goes back to its queue."""
        for machine in list(self._waiting_workers):
            machine.capacity = 0
            machine.changed.set()
        pollers = dict(self._pollers)
        if pollers:
            await asyncio.gather(*map(self._activity_tasks.shutdown_polls, pollers))
            await asyncio.wait(pollers.values())


async def _set_after(disconnected: asyncio.Event, wake: asyncio.Event) -> None:
    await disconnected.wait()
    wake.set()


async def _within(seconds: float, event: asyncio.Event) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
