"""Beginning again from a message."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.dependencies import KeyedRoute, Ref, Services
from api.http.openapi import problems
from api.http.responses import reply
from api.routes.serializers import present_run
from perdure.contract import RetryRun, Run

router = APIRouter(prefix="/clusters/{clusterId}/runs", tags=["runs"], route_class=KeyedRoute)


@router.post(
    "/{runId}/retry",
    operation_id="retry_run",
    summary="Begin again from a message",
    response_model=Run,
    responses=problems(404, 409, body=True),
)
async def retry_run(ref: Ref, services: Services, request: RetryRun | None = None) -> Response:
    """Take what came after a message out of the conversation, and let the run begin again from there: a run that is
    done or failed in its next turn, one at work at once. What is replaced is kept and marked.

    409: not an interactive run, cancelled, or not a message that was sent to it.
    """
    message_id = None if request is None else request.message_id
    return reply(present_run(await services.operations.retry_run(ref, message_id)))
