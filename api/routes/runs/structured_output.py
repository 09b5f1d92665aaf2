"""Structured output route: one model request, one value that satisfies a schema."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Body, Response
from fastapi.openapi.models import Example

from api.context import ApiServices
from api.dependencies import Cluster, KeyedRoute, Services
from api.http.errors import ApiError
from api.http.openapi import problems
from api.http.responses import reply
from api.routes.long_poll import wait_for_end
from orchestrator.rules.lifecycle import is_final
from orchestrator.store.database.json_columns import optional_from_json
from orchestrator.store.records import RunRecord
from orchestrator.workflows.interface import RunRef
from perdure.contract import (
    CreateStructuredOutput,
    NoStructuredOutput,
    RunStatus,
    StructuredOutput,
)

router = APIRouter(
    prefix="/clusters/{clusterId}/structured-output",
    tags=["structured output"],
    route_class=KeyedRoute,
)

MAX_LONG_POLLS = 2
"""Maximum wait, in units of the longest long poll (30 s by default)."""

_QUESTION: dict[str, Example] = {
    "question": {
        "summary": "A typed answer",
        "value": {
            "prompt": "How many legs has a spider?",
            "resultSchema": {"type": "integer"},
        },
    }
}


@router.post(
    "",
    operation_id="create_structured_output",
    summary="Get a value of a schema from a model",
    response_model=StructuredOutput | NoStructuredOutput,
    responses=problems(404, 408, body=True),
)
async def create_structured_output(
    cluster_id: Cluster,
    request: Annotated[CreateStructuredOutput, Body(openapi_examples=_QUESTION)],
    services: Services,
) -> Response:
    """Call a model without functions, and wait for the value, at most 60 s.

    It is a run that lists do not show: nothing is lost if the wait ends first (408, `still_working`). The problem names
    the run, which can be read like any other.
    """
    record = await services.operations.create_structured(cluster_id, request)
    record = await _wait_for_end(services, record)
    if is_final(record.run_status) or record.run_status is RunStatus.PAUSED:
        return reply(_present(record))
    raise ApiError(
        HTTPStatus.REQUEST_TIMEOUT,
        "still_working",
        f"There is no result yet. Run {record.id!r} is working on it: read that run.",
    )


async def _wait_for_end(services: ApiServices, record: RunRecord) -> RunRecord:
    clock = asyncio.get_running_loop().time
    until = clock() + MAX_LONG_POLLS * services.settings.max_wait_seconds
    while not _is_over(record) and not services.stopping.is_set() and clock() < until:
        await wait_for_end(services, record, seconds=until - clock())
        record = await services.store.runs.get(RunRef(record.cluster_id, record.id))
    return record


def _is_over(record: RunRecord) -> bool:
    return is_final(record.run_status) or record.run_status is RunStatus.PAUSED


def _present(record: RunRecord) -> StructuredOutput | NoStructuredOutput:
    reasons = (record.failure_reason, record.paused_reason, record.result_null_reason)
    reason = next((one for one in reasons if one is not None), None)
    if record.run_status is RunStatus.DONE and reason is None:
        return StructuredOutput(data=optional_from_json(record.result))
    return NoStructuredOutput(error=reason or f"The run is {record.status}.")
