"""Dispatches calls from Temporal's task queues to the machines that poll over HTTP.

While machines wait for a function, the process has one open poll for it at the Temporal server. A poll is
never cancelled when its machine leaves: it ends by its timeout, and its call goes to the next waiting machine, or
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
"""Seconds that a call without a machine is held for the next one before it returns to the queue."""
REQUEUE_DELAY = 0.05
"""Seconds until an undelivered call is dispatched again."""
_BACK_OFF = (0.2, 0.5, 1.0)


@dataclass(slots=True, eq=False)
class _WaitingWorker:
    """A machine that waits for calls."""

    machine_id: str
    queues: frozenset[str]
    capacity: int
    pending: int = 0
    """Number of leases to it that are being written."""
    calls: list[FunctionCall] = field(default_factory=list[FunctionCall])
    tokens: list[bytes] = field(default_factory=list[bytes])
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def accepts(self, queue: str) -> bool:
        return queue in self.queues and self.capacity > 0


class CallDispatcher:
    """Dispatches calls to waiting machines in the order of their polls, within each machine's functions and capacity."""

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
        """Lease calls for this machine: as soon as there is one; none after `wait` seconds or when it is `disconnected`.

        With `batch_seconds` further calls are awaited for that many seconds after the last one, up to `limit`: for clients
        that do not poll again before all their calls are done. Calls leased to a machine that is gone return
        to their queue.
        """
        worker = _WaitingWorker(machine_id, frozenset(queues), limit)
        watcher = asyncio.create_task(_set_after(disconnected, worker.changed))
        self._add_worker(worker)
        try:
            await self._collect(worker, wait, batch_seconds, disconnected)
        finally:
            worker.capacity = 0
            watcher.cancel()
            while worker.pending:  # leases being written for this machine must reach it
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
                # one is being leased: the store is slow, not the machine
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
        """Note that a call has ended, so that another one of its function may start. `call_id`: the answered call."""
        if call_id is not None:
            self._crash_loops.record_result(call_id)
        self._gates.release()

    def is_waiting(self, machine_id: str) -> bool:
        """Whether this machine has an open poll here."""
        return any(machine.machine_id == machine_id for machine in self._waiting_workers)

    def _has_demand(self, queue: str) -> bool:
        return any(machine.accepts(queue) for machine in self._waiting_workers)

    async def _poll_task_queue(self, queue: str) -> None:
        """Poll while a machine waits for this queue."""
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
                    task.token,
                    NOT_DELIVERED,
                    "the function is at its concurrency limit",
                    delay=RECHECK_DELAY,
                )
            case Completed(call_outcome):
                worker.capacity += 1
                self._crash_loops.record_lost(queue)
                await self._activity_tasks.complete(task.token, call_outcome)
            case Discarded(reason):
                worker.capacity += 1
                await self._activity_tasks.fail(task.token, UNWANTED, reason, delay=None)

    async def _next_worker(self, queue: str) -> _WaitingWorker | None:
        """The machine that has waited longest for this queue; waits a moment for one that is about to poll again."""
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
        """End the open polls; calls that they still receive return to their queue."""
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
