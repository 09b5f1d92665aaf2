"""Functions hosted in this process: their calls are made here, without the way over HTTP.

Where a model step and its calls are made in the same worker, no activity stands between them: the calls are made
within the step's own activity, each begun and ended by a transaction of its own. What cannot be made so goes the
usual way, as an activity on the function's own task queue, which this process polls too.
See docs/internals/decisions/0007-hosted-calls-need-no-activity.md.
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

from orchestrator.errors import NotFoundError, SupersededError, TooLargeError
from orchestrator.operations.function_registration import definitions_of
from orchestrator.rules.approvals import read_request
from orchestrator.runtime.clock import now_ms
from orchestrator.runtime.failpoints import Point, reach
from orchestrator.store.calls.outcomes import (
    Again,
    Finished,
    Full,
    HandedOut,
    Settled,
    Unwanted,
    content_of,
)
from orchestrator.store.calls.rows import queue_name
from orchestrator.store.database.json_columns import is_too_deep
from orchestrator.store.store import Store
from orchestrator.temporal.activity_tasks import FUNCTION_FAILED
from orchestrator.workflows.interface import CallRef, CallSchedule, RunRef
from perdure.contract import (
    HEARTBEAT_SECONDS,
    CreateBlob,
    FunctionCall,
    PostResult,
    RegisterMachine,
    ResultType,
)
from workers.hosting.crash_loops import CrashLoops

_log = logging.getLogger(__name__)

LONGEST_WITHIN_A_STEP = 310.0
"""Seconds. A call that may take longer has an activity of its own, and with it a time limit of its own."""
LONGEST_PAUSE = 60.0
"""Seconds between two attempts that are waited for within a step."""
SUPERSEDED_PAUSE = 1.0
"""Seconds until it is looked what came of a call that another machine holds."""
_ALIVE_MS = 12_000
"""A process of which nothing is heard for so long makes no call any more, as far as others know: as long as a heartbeat."""
_ATTEND_SECONDS = 4.0

Verdict = Settled | Again | Full | Unwanted


class Result(Protocol):
    """What came of a call."""

    @property
    def result(self) -> PostResult: ...
    @property
    def blobs(self) -> tuple[CreateBlob, ...]: ...


class FunctionHost(Protocol):
    """Functions that can be run in this process: `perdure.hosting.Host` is one."""

    @property
    def definitions(self) -> list[RegisterMachine]: ...
    def concurrency(self, service: str, function: str) -> int: ...
    def free(self, service: str, function: str) -> int: ...
    def slot(self, service: str, function: str) -> AbstractAsyncContextManager[None]: ...
    async def perform(self, call: FunctionCall, unwanted: asyncio.Event) -> Result | None: ...


class HostedFunction(NamedTuple):
    """A function of this process, by its task queue."""

    queue: str
    service: str
    name: str
    concurrency: int


class Hosting:
    """The functions of one cluster that this process hosts, as the machine `machine_id`."""

    def __init__(
        self,
        store: Store,
        host: FunctionHost,
        *,
        cluster_id: str,
        machine_id: str,
        look_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._store = store
        self._host = host
        self.cluster_id = cluster_id
        self.machine_id = machine_id
        self._look_seconds = look_seconds
        self._crash_loops = CrashLoops(store.crash_streaks, cluster_id)
        self.functions: dict[str, HostedFunction] = {
            function.queue: function for function in self._named()
        }

    def _named(self) -> list[HostedFunction]:
        return [
            HostedFunction(
                queue_name(self.cluster_id, service, definition.name),
                service,
                definition.name,
                self._host.concurrency(service, definition.name),
            )
            for registration in self._host.definitions
            if (service := registration.service) is not None
            for definition in registration.functions
        ]

    @asynccontextmanager
    async def attended(self) -> AsyncGenerator[None]:
        """Registered, and known to be alive while the body runs. Raises `InvalidRequestError` and its kin."""
        for registration in self._host.definitions:
            await self._store.functions.register(
                self.cluster_id,
                self.machine_id,
                registration.service or "",
                definitions_of(registration),
                heartbeats=True,
                alive_until=now_ms() + _ALIVE_MS,
            )
        await self._crash_loops.look()
        attending = [
            asyncio.create_task(loop) for loop in (self._attend(), self._crash_loops.run())
        ]
        try:
            yield
        finally:
            for loop in attending:
                loop.cancel()
            await self._be_alive(0)

    async def _attend(self) -> None:
        while True:
            await asyncio.sleep(_ATTEND_SECONDS)
            try:
                await self._be_alive(_ALIVE_MS)
            except Exception:  # noqa: BLE001 # a store that is away comes back
                _log.warning("hosted functions could not be said to be here", exc_info=True)

    async def _be_alive(self, milliseconds: int) -> None:
        await self._store.functions.touch(
            self.cluster_id,
            self.machine_id,
            heartbeats=True,
            alive_until=now_ms() + milliseconds,
        )

    def makes(self, orders: Sequence[CallSchedule]) -> bool:
        """Whether all of these calls can be made here within a step, as things are."""
        return all(
            order.queue in self.functions
            and order.timeout <= LONGEST_WITHIN_A_STEP
            and not self._crash_loops.is_pausing(order.queue)
            for order in orders
        )

    def has_room(self, orders: Sequence[CallSchedule]) -> bool:
        """Whether all of these calls would begin here at once."""
        if not self.makes(orders):
            return False
        wanted = Counter(order.queue for order in orders)
        hosted = {queue: self.functions[queue] for queue in wanted}
        return all(
            self._host.free(hosted[queue].service, hosted[queue].name) >= number
            for queue, number in wanted.items()
        )

    async def make(
        self, ref: RunRef, orders: Sequence[CallSchedule], handed: Sequence[HandedOut] = ()
    ) -> bool:
        """Make calls, all at once; True if each has its result, or is interrupted.

        `leased`: those that were given to this process already. On the others nobody may work. Raises `ApplicationError`
        where a function is to be tried again much later.
        """
        given = {each.call.id: each.call for each in handed}
        makings = (self._make(ref, order, given.get(order.call_id)) for order in orders)
        verdicts = await asyncio.gather(*makings)
        for verdict in verdicts:
            if isinstance(verdict, Again):
                raise ApplicationError(
                    "the function failed",
                    type=FUNCTION_FAILED,
                    next_retry_delay=timedelta(seconds=verdict.delay),
                )
        return all(isinstance(verdict, Settled) for verdict in verdicts)

    async def _make(self, ref: RunRef, order: CallSchedule, given: FunctionCall | None) -> Verdict:
        while True:
            if given is not None:
                async with self._slot(order.queue):
                    verdict, given = await self._work(given), None
            else:
                verdict = await self.call(CallRef(ref, order.call_id), order.queue, None)
            if not isinstance(verdict, Again) or verdict.delay > LONGEST_PAUSE:
                return verdict
            await asyncio.sleep(verdict.delay)

    async def call(self, ticket: CallRef, queue: str, token: bytes | None) -> Verdict:
        """One attempt of a call. `token`: of its own activity, if it has one."""
        async with self._slot(queue):
            answer = await self._store.calls.hand_out(
                ticket,
                self.machine_id,
                token,
                begun=True,
                suspected=self._crash_loops.is_suspect(queue),
            )
            if not isinstance(answer, HandedOut):
                return answer
            return await self._work(answer.call)

    def _slot(self, queue: str) -> AbstractAsyncContextManager[None]:
        function = self.functions[queue]
        return self._host.slot(function.service, function.name)

    async def _work(self, call: FunctionCall) -> Verdict:
        unwanted = asyncio.Event()
        watch = asyncio.create_task(self._watch(call, unwanted))
        try:
            performed = await self._host.perform(call, unwanted)
            if performed is None:
                return Unwanted("the call was cancelled")
            return await self._keep(call, performed)
        except NotFoundError as error:
            return Unwanted(str(error))
        except SupersededError as error:  # its result comes from elsewhere, and is there soon
            return Again(str(error), SUPERSEDED_PAUSE)
        finally:
            watch.cancel()

    async def _watch(self, call: FunctionCall, unwanted: asyncio.Event) -> None:
        """Hear that a call was cancelled, as soon as a function worker would."""
        gone = False
        while not gone:
            await asyncio.sleep(self._look_seconds)
            try:
                _, gone = await self._store.calls.lease(
                    self.cluster_id, call.id, self.machine_id, call.attempt
                )
            except (NotFoundError, SupersededError):
                gone = True
            except Exception:  # noqa: BLE001 # a store that is away comes back
                _log.warning("could not look after call %s", call.id, exc_info=True)
        unwanted.set()

    async def _keep(self, call: FunctionCall, performed: Result) -> Verdict:
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
            finished = await self._finish(call, performed.result)
        except TooLargeError as error:
            finished = await self._reject(call, str(error))
        reach(Point.RESULT_ACCEPTED)
        await self._crash_loops.answered(queue_name(self.cluster_id, call.service, call.function))
        return finished.verdict

    async def _finish(self, call: FunctionCall, posted: PostResult) -> Finished:
        if posted.result_type is ResultType.INTERRUPT:
            return await self._store.approvals.request(
                self.cluster_id,
                call.id,
                self.machine_id,
                call.attempt,
                read_request(posted.result),
            )
        if is_too_deep(posted.result):
            return await self._reject(call, "The result is nested too deeply.")
        content = content_of(posted.result_type, posted.result)
        return await self._store.calls.finish(
            self.cluster_id,
            call.id,
            self.machine_id,
            call.attempt,
            kind=posted.result_type,
            content=content.text,
            is_text=content.is_text,
        )

    async def _reject(self, call: FunctionCall, why: str) -> Finished:
        return await self._store.calls.finish(
            self.cluster_id,
            call.id,
            self.machine_id,
            call.attempt,
            kind=ResultType.REJECTION,
            content=f"The result was not taken: {why}",
        )
