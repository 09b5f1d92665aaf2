"""Is the process alive, can it do its work, and whose key is this?"""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter, Response
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.service import RPCError

from api.auth.scopes import granted_scopes
from api.dependencies import Key, KeyedRoute, Services
from api.http.openapi import problems
from api.http.responses import reply
from orchestrator.errors import UnavailableError
from orchestrator.temporal.client import TASK_QUEUE, Temporal
from perdure.contract import Health, Identity

router = APIRouter(tags=["server"])
keyed = APIRouter(tags=["server"], route_class=KeyedRoute)

_CHECK_TIMEOUT = timedelta(seconds=2)


@router.get("/live", operation_id="check_live", summary="Is it alive?", response_model=Health)
async def check_live() -> Response:
    """Says that the process answers; looks at nothing else."""
    return reply(Health(status="ok"))


@router.get(
    "/ready",
    operation_id="check_ready",
    summary="Can it do its work?",
    response_model=Health,
    responses={503: {"description": "Something is missing.", "model": Health}},
)
async def check_ready(services: Services) -> Response:
    """Names what is not reachable just now: `store`, `temporal`, `workers`. Without the latter two runs are still
    accepted and begin when they are back.
    """
    missing = [] if await _store_answers(services) else ["store"]
    if not await services.temporal.is_reachable():
        missing.append("temporal")
    elif not await _workers_poll(services.temporal):
        missing.append("workers")
    status = "degraded" if missing else "ok"
    return reply(Health(status=status, missing=missing), 503 if missing else 200)


async def _store_answers(services: Services) -> bool:
    try:
        await services.store.keys.identify("")
    except Exception:  # noqa: BLE001 - whatever keeps the store from answering
        return False
    return True


async def _workers_poll(temporal: Temporal) -> bool:
    """Whether a Temporal worker of ours has asked for work lately."""
    try:
        client = await temporal.client()
        answer = await client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=temporal.namespace,
                task_queue=TaskQueue(name=TASK_QUEUE),
                task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
            ),
            timeout=_CHECK_TIMEOUT,
        )
    except (RPCError, UnavailableError):
        return False
    return bool(answer.pollers)


@keyed.get(
    "/me",
    operation_id="get_identity",
    summary="Whose key is this?",
    response_model=Identity,
    responses=problems(fields=False),
)
async def get_identity(key: Key) -> Response:
    """The cluster that the key belongs to, the key's name, and what it may do there."""
    scopes = sorted(granted_scopes(key, key.cluster_id))
    return reply(Identity(cluster_id=key.cluster_id, key_name=key.name, scopes=scopes))
