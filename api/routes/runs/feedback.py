"""What people think of a run."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.dependencies import KeyedRoute, Ref, Services
from api.http.openapi import problems
from perdure.contract import SetFeedback

router = APIRouter(prefix="/clusters/{clusterId}/runs", tags=["runs"], route_class=KeyedRoute)


@router.post(
    "/{runId}/feedback",
    operation_id="set_feedback",
    summary="Say what you think of a run",
    status_code=204,
    responses=problems(404, body=True),
)
async def set_feedback(ref: Ref, request: SetFeedback, services: Services) -> Response:
    """Keep a comment and a score from 0 to 1 with the run. The last word counts: what is null or left out is taken
    back.
    """
    await services.store.feedback.set(ref, request.comment, request.score)
    return Response(status_code=204)
