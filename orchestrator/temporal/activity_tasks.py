"""Client of Temporal's activity tasks: polls for calls and completes, fails and heartbeats them by token.

The activity of a call is executed by a user's function worker, not by a Temporal worker. The API polls the
function's task queue on its behalf and reports the result (async activity completion). The task token is the
lease: the server rejects a repeated, late or stale result.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from google.protobuf.duration_pb2 import Duration
from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import PendingActivityState, TaskQueueType
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    PollActivityTaskQueueRequest,
    RecordActivityTaskHeartbeatRequest,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskFailedByIdRequest,
    RespondActivityTaskFailedRequest,
    ShutdownWorkerRequest,
)
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from orchestrator.errors import UnavailableError
from orchestrator.runtime.clock import now_ms
from orchestrator.runtime.ids import new_id
from orchestrator.temporal.client import Temporal
from orchestrator.workflows.interface import CallOutcome, CallRef, RunRef

_log = logging.getLogger(__name__)

POLL_TIMEOUT = timedelta(seconds=6)
"""The server answers an empty poll a second before this. A poll is never cancelled, because a task in transit would
be lost until its heartbeat timeout; so this also bounds how long a process takes to stop."""
_COMPLETION_TIMEOUT = timedelta(seconds=10)
NOT_DELIVERED = "NotDelivered"
FUNCTION_FAILED = "FunctionFailed"
UNWANTED = "Unwanted"
PROCESS_LOST = "ProcessLost"


STALE_AFTER_MS = 5_000
"""A task dispatched longer ago is verified with the server before use; clock skew costs one extra request."""
RECENT_MS = 8_000
"""Well below every heartbeat timeout: the task cannot have been dispatched again since."""


@dataclass(frozen=True, slots=True)
class ActivityTask:
    """A dispatched activity task of a call; `token` completes it."""

    token: bytes
    call: CallRef


class StartedActivity(NamedTuple):
    """An activity that the server dispatched to a process, by workflow id and activity id."""

    workflow_id: str
    activity_id: str
    name: str
    attempt: int


class TaskState(StrEnum):
    """The state of a task token on the server."""

    HELD = "held"
    CANCELLED = "cancelled"
    """Still leased, but cancellation was requested."""
    LOST = "lost"


class ActivityTaskClient:
    """Raw activity requests of one namespace. All raise `UnavailableError` while Temporal is unavailable."""

    def __init__(self, temporal: Temporal, identity: str) -> None:
        self._temporal = temporal
        self._identity = identity
        self._key = new_id()

    async def poll(self, queue: str) -> ActivityTask | None:
        """Wait for a call of this function; return None after about 5 s without one."""
        client = await self._temporal.client()
        request = PollActivityTaskQueueRequest(
            namespace=self._temporal.namespace,
            task_queue=TaskQueue(name=queue),
            identity=self._identity,
            worker_instance_key=self._key,
        )
        try:
            task = await client.workflow_service.poll_activity_task_queue(
                request, timeout=POLL_TIMEOUT
            )
        except RPCError as error:
            if error.status is RPCStatusCode.DEADLINE_EXCEEDED:
                return None
            raise _unavailable(error) from error
        if not task.task_token:
            return None
        is_old = now_ms() - task.started_time.ToMilliseconds() > STALE_AFTER_MS
        # If this process was suspended meanwhile, the call may be dispatched to another one, which must keep it.
        if is_old and await self.heartbeat(task.task_token) is TaskState.LOST:
            return None
        (payload,) = await client.data_converter.decode(task.input.payloads)
        return ActivityTask(task.task_token, _call_ref(payload))

    async def shutdown_polls(self, queue: str) -> None:
        """Make the server end open and later polls of this queue at once, so that none receives a call.

        A server without this feature lets them time out.
        """
        request = ShutdownWorkerRequest(
            namespace=self._temporal.namespace,
            identity=self._identity,
            worker_instance_key=self._key,
            task_queue=queue,
            task_queue_types=[TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY],
            reason="the process ends",
        )
        try:
            client = await self._temporal.client()
            await client.workflow_service.shutdown_worker(request, timeout=_COMPLETION_TIMEOUT)
        except (RPCError, UnavailableError) as error:
            _log.debug("open polls will time out by themselves: %s", error)

    async def complete(self, token: bytes, outcome: CallOutcome) -> bool:
        """Complete the activity; return False if the server no longer knows the token."""
        client = await self._temporal.client()
        payloads = await client.data_converter.encode([outcome])
        request = RespondActivityTaskCompletedRequest(
            namespace=self._temporal.namespace,
            task_token=token,
            result=Payloads(payloads=payloads),
            identity=self._identity,
        )
        try:
            await client.workflow_service.respond_activity_task_completed(
                request, retry=True, timeout=_COMPLETION_TIMEOUT
            )
        except RPCError as error:
            return _is_refused(error)
        return True

    async def fail(self, token: bytes, kind: str, reason: str, *, delay: float | None) -> bool:
        """Fail the attempt and retry after `delay` seconds (None: never); return False for an unknown token.

        `reason` must contain no user data: it is stored unencrypted in Temporal's history.
        """
        client = await self._temporal.client()
        request = RespondActivityTaskFailedRequest(
            namespace=self._temporal.namespace,
            task_token=token,
            failure=_failure(kind, reason, delay),
            identity=self._identity,
        )
        try:
            await client.workflow_service.respond_activity_task_failed(
                request, retry=True, timeout=_COMPLETION_TIMEOUT
            )
        except RPCError as error:
            return _is_refused(error)
        return True

    async def started_by(self, process: str, workflow_id: str) -> list[StartedActivity]:
        """Return the workflow's activities that the server recently dispatched to this process.

        Activities close to their heartbeat timeout are left out: they may be dispatched to another process before the
        caller acts.
        """
        client = await self._temporal.client()
        handle: WorkflowHandle[object, object] = client.get_workflow_handle(workflow_id)
        try:
            described = await handle.describe(rpc_timeout=_COMPLETION_TIMEOUT)
        except RPCError as error:
            _is_refused(error)
            return []
        since = now_ms() - RECENT_MS
        return [
            StartedActivity(workflow_id, task.activity_id, task.activity_type.name, task.attempt)
            for task in described.raw_description.pending_activities
            if task.last_worker_identity == process
            and task.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
            and task.last_started_time.ToMilliseconds() > since
        ]

    async def fail_by_id(
        self, task: StartedActivity, kind: str, reason: str, *, delay: float
    ) -> bool:
        """Fail the attempt of a task whose token is lost; return False if it has ended meanwhile."""
        client = await self._temporal.client()
        request = RespondActivityTaskFailedByIdRequest(
            namespace=self._temporal.namespace,
            workflow_id=task.workflow_id,
            activity_id=task.activity_id,
            failure=_failure(kind, reason, delay),
            identity=self._identity,
        )
        try:
            await client.workflow_service.respond_activity_task_failed_by_id(
                request, timeout=_COMPLETION_TIMEOUT
            )
        except RPCError as error:
            return _is_refused(error)
        return True

    async def heartbeat(self, token: bytes) -> TaskState:
        """Renew the lease."""
        client = await self._temporal.client()
        request = RecordActivityTaskHeartbeatRequest(
            namespace=self._temporal.namespace, task_token=token, identity=self._identity
        )
        try:
            answer = await client.workflow_service.record_activity_task_heartbeat(
                request, timeout=_COMPLETION_TIMEOUT
            )
        except RPCError as error:
            _is_refused(error)
            return TaskState.LOST
        return TaskState.CANCELLED if answer.cancel_requested else TaskState.HELD


def _failure(kind: str, reason: str, delay: float | None) -> Failure:
    info = ApplicationFailureInfo(type=kind, non_retryable=delay is None)
    if delay is not None:
        retry = Duration()
        retry.FromTimedelta(timedelta(seconds=delay))
        info.next_retry_delay.CopyFrom(retry)
    return Failure(message=reason, application_failure_info=info)


def _is_refused(error: RPCError) -> bool:
    """Return False for a token unknown to the server; raise `UnavailableError` for any other error."""
    if error.status in {RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT}:
        return False
    raise _unavailable(error) from error


def _unavailable(error: RPCError) -> UnavailableError:
    return UnavailableError(f"Temporal does not answer: {error.message}")


def _call_ref(value: dict[str, Any]) -> CallRef:
    """Decode by hand, because this runs for every call: Temporal's converter resolves the field types anew each time."""
    return CallRef(RunRef(**value["run"]), value["call_id"])
