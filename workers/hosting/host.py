"""Functions hosted in this process: their calls run here, without HTTP.

If a model step and its calls run in the same worker, no activity is between them: the calls run
within the step's activity, each begun and ended by a transaction of its own. Other calls are activities
on the function's task queue, which this process polls too.
See docs/internals/decisions/0007-run-hosted-calls-within-the-model-step.md.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import NamedTuple, Protocol

from temporalio.exceptions import ApplicationError

from orchestrator.errors import (
    InvalidRequestError,
    NotFoundError,
    SupersededError,
)
from orchestrator.operations.calls import CallLease, record_result, reject_result
from orchestrator.operations.function_registration import checked_definitions
from orchestrator.runtime.clock import now_ms
from orchestrator.runtime.failpoints import Point, reach
from orchestrator.store.calls.outcomes import (
    AtCapacity,
    Completed,
    Discarded,
    Leased,
    Retry,
)
from orchestrator.store.calls.rows import task_queue_name
from orchestrator.store.database.json_columns import MAX_DEPTH, is_too_deep
from orchestrator.store.store import Store
from orchestrator.temporal.activity_tasks import FUNCTION_FAILED
from orchestrator.workflows.interface import CallRef, CallSchedule, RunRef
from perdure.contract import (
    HEARTBEAT_SECONDS,
    CreateBlob,
    FunctionCall,
    PostResult,
    RegisterMachine,
)
from workers.hosting.crash_loops import CrashLoopCache

_log = logging.getLogger(__name__)

MAX_IN_PROCESS_SECONDS = 310.0
"""Seconds. A call with a longer timeout has an activity and a time limit of its own."""
MAX_RETRY_WAIT = 60.0
"""Maximum seconds between two attempts within a step."""
SUPERSEDED_RETRY_DELAY = 1.0
"""Seconds until a call that another machine holds is read again."""
_ALIVE_MS = 12_000
"""Milliseconds without a sign of life after which others regard the process as dead: the heartbeat timeout."""
_KEEP_ALIVE_SECONDS = 4.0

AttemptOutcome = Completed | Retry | AtCapacity | Discarded


class ExecutionResult(Protocol):
    """The outcome of a call."""

    @property
    def result(self) -> PostResult: ...
    @property
    def blobs(self) -> tuple[CreateBlob, ...]: ...


class FunctionHost(Protocol):
    """Functions that can run in this process: `perdure.hosting.Host` is one."""

    @property
    def definitions(self) -> list[RegisterMachine]: ...
    def concurrency(self, service: str, function: str) -> int: ...
    def free(self, service: str, function: str) -> int: ...
    def slot(self, service: str, function: str) -> AbstractAsyncContextManager[None]: ...
    async def perform(
        self, call: FunctionCall, cancelled: asyncio.Event
    ) -> ExecutionResult | None: ...


class HostedFunction(NamedTuple):
    """A function of this process, by its task queue."""

    queue: str
    service: str
    name: str
    concurrency: int


class HostedFunctions:
    """The functions of one cluster that this process hosts, as the machine `machine_id`."""

    def __init__(
        self,
        store: Store,
        host: FunctionHost,
        *,
        cluster_id: str,
        machine_id: str,
        watch_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._store = store
        self._host = host
        self.cluster_id = cluster_id
        self.machine_id = machine_id
        self._watch_seconds = watch_seconds
        self._crash_loops = CrashLoopCache(store.crash_loops, cluster_id)
        self.functions: dict[str, HostedFunction] = {
            function.queue: function for function in self._hosted_functions()
        }

    def _hosted_functions(self) -> list[HostedFunction]:
        return [
            HostedFunction(
                task_queue_name(self.cluster_id, service, definition.name),
                service,
                definition.name,
                self._host.concurrency(service, definition.name),
            )
            for registration in self._host.definitions
            if (service := registration.service) is not None
            for definition in registration.functions
        ]

    @asynccontextmanager
    async def registered(self) -> AsyncGenerator[None]:
        """Register the functions, and renew the machine's liveness inside the block. Raises `InvalidRequestError`."""
        for registration in self._host.definitions:
            await self._store.functions.register(
                self.cluster_id,
                self.machine_id,
                registration.service or "",
                checked_definitions(registration),
                heartbeats=True,
                alive_until=now_ms() + _ALIVE_MS,
            )
        await self._crash_loops.refresh()
        loops = [
            asyncio.create_task(loop) for loop in (self._keep_alive(), self._crash_loops.run())
        ]
        try:
            yield
        finally:
            for loop in loops:
                loop.cancel()
            await self._touch(0)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(_KEEP_ALIVE_SECONDS)
            try:
                await self._touch(_ALIVE_MS)
            except Exception:  # noqa: BLE001 # a store that is away comes back
                _log.warning(
                    "the liveness of hosted functions could not be recorded", exc_info=True
                )

    async def _touch(self, milliseconds: int) -> None:
        await self._store.functions.touch(
            self.cluster_id,
            self.machine_id,
            heartbeats=True,
            alive_until=now_ms() + milliseconds,
        )

    def can_run(self, calls: Sequence[CallSchedule]) -> bool:
        """Whether all of these calls can run here within a step."""
        return all(
            order.queue in self.functions
            and order.timeout <= MAX_IN_PROCESS_SECONDS
            and not self._crash_loops.is_pausing(order.queue)
            for order in calls
        )

    def has_capacity(self, calls: Sequence[CallSchedule]) -> bool:
        """Whether all of these calls would start here at once."""
        if not self.can_run(calls):
            return False
        needed = Counter(order.queue for order in calls)
        hosted = {queue: self.functions[queue] for queue in needed}
        return all(
            self._host.free(hosted[queue].service, hosted[queue].name) >= number
            for queue, number in needed.items()
        )

    async def run(
        self, ref: RunRef, calls: Sequence[CallSchedule], leased: Sequence[Leased] = ()
    ) -> bool:
        """Run calls concurrently; True if each has its result, or is interrupted.

        `leased`: calls that are already leased to this process. The others must not be leased. Raises `ApplicationError`
        if a function is to be retried much later.
        """
        leased_calls = {each.call.id: each.call for each in leased}
        runs = (self._run_call(ref, each, leased_calls.get(each.call_id)) for each in calls)
        outcomes = await asyncio.gather(*runs)
        for outcome in outcomes:
            if isinstance(outcome, Retry):
                raise ApplicationError(
                    "the function failed",
                    type=FUNCTION_FAILED,
                    next_retry_delay=timedelta(seconds=outcome.delay),
                )
        return all(isinstance(verdict, Completed) for verdict in outcomes)

    async def _run_call(
        self, ref: RunRef, schedule: CallSchedule, leased: FunctionCall | None
    ) -> AttemptOutcome:
        while True:
            if leased is not None:
                async with self._slot(schedule.queue):
                    outcome, leased = await self._execute(leased), None
            else:
                outcome = await self.run_attempt(
                    CallRef(ref, schedule.call_id), schedule.queue, None
                )
            if not isinstance(outcome, Retry) or outcome.delay > MAX_RETRY_WAIT:
                return outcome
            await asyncio.sleep(outcome.delay)

    async def run_attempt(
        self, call_ref: CallRef, queue: str, token: bytes | None
    ) -> AttemptOutcome:
        """Run one attempt of a call. `token`: of its own activity, if it has one."""
        async with self._slot(queue):
            outcome = await self._store.calls.lease(
                call_ref,
                self.machine_id,
                token,
                started=True,
                suspected=self._crash_loops.is_suspect(queue),
            )
            if not isinstance(outcome, Leased):
                return outcome
            return await self._execute(outcome.call)

    def _slot(self, queue: str) -> AbstractAsyncContextManager[None]:
        function = self.functions[queue]
        return self._host.slot(function.service, function.name)

    async def _execute(self, call: FunctionCall) -> AttemptOutcome:
        cancelled = asyncio.Event()
        watch = asyncio.create_task(self._watch(call, cancelled))
        try:
            performed = await self._host.perform(call, cancelled)
            if performed is None:
                return Discarded("the call was cancelled")
            return await self._record_outcome(call, performed)
        except NotFoundError as error:
            return Discarded(str(error))
        except SupersededError as error:  # another machine holds it, and will have its result
            return Retry(str(error), SUPERSEDED_RETRY_DELAY)
        finally:
            watch.cancel()

    async def _watch(self, call: FunctionCall, cancelled: asyncio.Event) -> None:
        """Set `cancelled` when the call is cancelled, as soon as a function worker would learn it."""
        lost = False
        while not lost:
            await asyncio.sleep(self._watch_seconds)
            try:
                _, lost = await self._store.calls.get_lease(
                    self.cluster_id, call.id, self.machine_id, call.attempt
                )
            except (NotFoundError, SupersededError):
                lost = True
            except Exception:  # noqa: BLE001 # a store that is away comes back
                _log.warning("the lease of call %s could not be read", call.id, exc_info=True)
        cancelled.set()

    async def _record_outcome(
        self, call: FunctionCall, performed: ExecutionResult
    ) -> AttemptOutcome:
        lease = CallLease(self.cluster_id, call.id, self.machine_id, call.attempt)
        try:
            for blob in performed.blobs:
                await self._store.blobs.add(
                    self.cluster_id,
                    call.id,
                    self.machine_id,
                    name=blob.name,
                    type_=blob.type,
                    content=base64.b64decode(blob.data),
                )
            if is_too_deep(performed.result.result):
                raise InvalidRequestError(  # noqa: TRY301 - as the store refuses it
                    f"The result is nested too deeply: at most {MAX_DEPTH} levels."
                )
            recorded = await record_result(self._store, lease, performed.result)
        except InvalidRequestError as error:
            recorded = await reject_result(self._store, lease, str(error))
        reach(Point.RESULT_ACCEPTED)
        await self._crash_loops.record_result(
            task_queue_name(self.cluster_id, call.service, call.function)
        )
        return recorded.attempt_outcome
