"""The task queues of hosted functions: runs calls that are activities of their own.

These are calls of a worker that does not host the function, of a process that died, and calls with a long timeout.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from temporalio import activity
from temporalio.client import AsyncActivityCancelledError, Client
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import PollerBehaviorSimpleMaximum, Worker

from orchestrator.runtime.clock import now_ms
from orchestrator.store.calls.outcomes import AtCapacity, Completed, Retry
from orchestrator.temporal.activity_tasks import (
    FUNCTION_FAILED,
    NOT_DELIVERED,
    STALE_AFTER_MS,
    UNWANTED,
)
from orchestrator.temporal.client import BUILD_ID
from orchestrator.workflows.interface import CallOutcome, CallRef
from workers.hosting.host import HostedFunction, HostedFunctions
from workers.recovery.heartbeat import heartbeating

_RECHECK_DELAY = timedelta(seconds=0.25)
_POLLERS = 2
_GRACE = timedelta(seconds=20)


class HostedFunctionActivity:
    """The activities of the calls of one function."""

    def __init__(self, functions: HostedFunctions, queue: str) -> None:
        self._functions = functions
        self._queue = queue

    @activity.defn(dynamic=True)
    @heartbeating
    async def call(self, call_refs: Sequence[RawValue]) -> CallOutcome:
        """One attempt of a call."""
        if not await _still_holds_task():
            raise ApplicationError("it was another's turn meanwhile", type=NOT_DELIVERED)
        call_ref = activity.payload_converter().from_payload(call_refs[0].payload, CallRef)
        outcome = await self._functions.run_attempt(
            call_ref, self._queue, activity.info().task_token
        )
        match outcome:
            case Completed(call_outcome):
                return call_outcome
            case Retry(_, delay):
                raise ApplicationError(
                    "the function failed",
                    type=FUNCTION_FAILED,
                    next_retry_delay=timedelta(seconds=delay),
                )
            case AtCapacity(_, seconds):
                raise _not_delivered(seconds)
            case unwanted:
                raise ApplicationError(unwanted.reason, type=UNWANTED, non_retryable=True)


def _not_delivered(seconds: float | None) -> ApplicationError:
    """`seconds`: the delay of a function in a crash loop."""
    if seconds is None:
        reason, delay = "the function is at its concurrency limit", _RECHECK_DELAY
    else:
        reason, delay = "its process died too often in a row", timedelta(seconds=seconds)
    return ApplicationError(reason, type=NOT_DELIVERED, next_retry_delay=delay)


async def _still_holds_task() -> bool:
    """Whether this process still holds the task: not after it was suspended for so long that another one has it."""
    info = activity.info()
    if now_ms() - info.started_time.timestamp() * 1000 < STALE_AFTER_MS:
        return True
    handle = activity.client().get_async_activity_handle(task_token=info.task_token)
    try:
        await handle.heartbeat()
    except RPCError as error:
        return error.status is not RPCStatusCode.NOT_FOUND
    except AsyncActivityCancelledError:
        return True  # it is notified like any activity
    return True


def build_hosting_workers(client: Client, functions: HostedFunctions) -> list[Worker]:
    """A Temporal worker for the task queue of each hosted function."""
    return [_worker(client, functions, function) for function in functions.functions.values()]


def _worker(client: Client, functions: HostedFunctions, function: HostedFunction) -> Worker:
    return Worker(
        client,
        task_queue=function.queue,
        activities=[HostedFunctionActivity(functions, function.queue).call],
        build_id=BUILD_ID,
        max_concurrent_activities=function.concurrency,
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(
            min(_POLLERS, function.concurrency)
        ),
        max_heartbeat_throttle_interval=timedelta(seconds=3),
        default_heartbeat_throttle_interval=timedelta(seconds=3),
        graceful_shutdown_timeout=_GRACE,
    )
