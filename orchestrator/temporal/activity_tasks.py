"""Calls as Temporal activities, from the side of the door: polled, completed, failed and heartbeaten by token.

An activity of a call is not executed by a Temporal worker of ours but by a machine of the user's; the API polls
the function's task queue for it and answers in its name. The task token is the lease: a second, late or stale
answer is refused by the server.
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
"""The server answers an empty poll a second before this. A poll is never cancelled, since what is on its way would
be lost until the heartbeat timeout; so this also bounds how long a process takes to stop."""
_COMPLETION_TIMEOUT = timedelta(seconds=10)
NOT_DELIVERED = "NotDelivered"
FUNCTION_FAILED = "FunctionFailed"
UNWANTED = "Unwanted"
PROCESS_LOST = "ProcessLost"


STALE_AFTER_MS = 5_000
"""A task that was handed out longer ago is asked for again before it counts: clocks that disagree cost a question."""
RECENT_MS = 8_000
"""Well within every heartbeat timeout: nobody else has been given the task since."""


@dataclass(frozen=True, slots=True)
class ActivityTask:
    """A call that waits to be handed out; `token` answers for it."""

    token: bytes
    call: CallRef


class StartedActivity(NamedTuple):
    """An activity that the server gave to a process, by its workflow and its own id."""

    workflow_id: str
    activity_id: str
    name: str
    attempt: int


class TaskState(StrEnum):
    """What the server says of a token."""

    HELD = "held"
    CANCELLED = "cancelled"
    """Still held, but the result is not wanted."""
    LOST = "lost"


class ActivityTaskClient:
    """The raw activity calls of one namespace. All raise `UnavailableError` while Temporal is away."""

    def __init__(self, temporal: Temporal, identity: str) -> None:
        self._temporal = temporal
        self._identity = identity
        self._key = new_id()

    async def poll(self, queue: str) -> ActivityTask | None:
        """Wait for a call of this function; None when none came in about 5 s."""
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
        # Where this process stood still meanwhile the call may be another's by now, which must not lose it again.
        if is_old and await self.heartbeat(task.task_token) is TaskState.LOST:
            return None
        (payload,) = await client.data_converter.decode(task.input.payloads)
        return ActivityTask(task.task_token, _call_ref(payload))

    async def shutdown_polls(self, queue: str) -> None:
        """Have the server answer open polls of this queue now and later ones at once, so that none takes a call any more.

        A server that does not know how lets them run out.
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
            _log.debug("open polls are left to run out: %s", error)

    async def complete(self, token: bytes, outcome: CallOutcome) -> bool:
        """Complete the activity; False where the server no longer knows the token."""
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
        """Fail the attempt, to be retried after `delay` seconds (None: not at all); False for an unknown token.

        `reason` must hold no user data: it stands in Temporal's history unencrypted.
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
        """The workflow's activities that the server gave to this process lately, as far as it knows.

        Those that it gave so long ago that their heartbeat timeout is near are left out: they may be another's by the time
        somebody acts on this.
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
        """Fail the attempt of a task whose token nobody has; False where it has ended meanwhile."""
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
    """False for a token the server does not know (any more); everything else means it is away."""
    if error.status in {RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT}:
        return False
    raise _unavailable(error) from error


def _unavailable(error: RPCError) -> UnavailableError:
    return UnavailableError(f"Temporal does not answer: {error.message}")


def _call_ref(value: dict[str, Any]) -> CallRef:
    """Read by hand, since every call is: Temporal's converter would look up the types of the fields anew each time."""
    return CallRef(RunRef(**value["run"]), value["call_id"])
