"""Health routes: liveness, readiness, and the identity of the API key."""

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


@router.get("/live", operation_id="check_live", summary="Liveness", response_model=Health)
async def check_live() -> Response:
    """Report that the process responds. Dependencies are not checked."""
    return reply(Health(status="ok"))


@router.get(
    "/ready",
    operation_id="check_ready",
    summary="Readiness",
    response_model=Health,
    responses={503: {"description": "A dependency is unavailable.", "model": Health}},
)
async def check_ready(services: Services) -> Response:
    """Report which dependencies are unreachable: `store`, `temporal`, `workers`.

    Without `temporal` or `workers`, runs are still accepted; they start when the dependency is back.
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
    except Exception:  # noqa: BLE001 - any error means that the store is unavailable
        return False
    return True


async def _workers_poll(temporal: Temporal) -> bool:
    """Return whether a Temporal worker of this installation polled recently."""
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
    summary="Get the identity of the API key",
    response_model=Identity,
    responses=problems(fields=False),
)
async def get_identity(key: Key) -> Response:
    """Return the key's cluster, its name and its scopes."""
    scopes = sorted(granted_scopes(key, key.cluster_id))
    return reply(Identity(cluster_id=key.cluster_id, key_name=key.name, scopes=scopes))
