"""Run routes: create, list, read, cancel, resume, delete."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from fastapi import APIRouter, Body, Header, Query, Response
from fastapi.openapi.models import Example
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from api.dependencies import Cluster, CurrentEndUser, KeyedRoute, Ref, Services
from api.http.openapi import problems
from api.http.pagination import MAX_VERSION, PageQuery, from_cursor, page_of, to_cursor
from api.http.responses import reply
from api.routes.long_poll import wait_for_change, wait_for_end
from api.routes.serializers import present_run
from orchestrator.operations.run_requests import EndUser
from orchestrator.store.runs.filters import RunFilter
from perdure.contract import (
    MAX_METADATA_KEY,
    MAX_METADATA_VALUE,
    MAX_WAIT_SECONDS,
    CancelRun,
    CreateRun,
    ResumeRun,
    Run,
    RunConfigId,
    RunPage,
    RunStatus,
    SetFeedback,
    Tag,
)

router = APIRouter(prefix="/clusters/{clusterId}/runs", tags=["runs"], route_class=KeyedRoute)

_MAX_PAIRS = 8
"""Maximum metadata pairs of a query."""
_MAX_TAGS = 8
_TEST = {"false": False, "true": True, "all": None}
_PAIR = re.compile(r"((?:[^:\\]|\\.)+):(.*)", re.DOTALL)


def _check_pair(pair: str) -> str:
    if not _PAIR.fullmatch(pair) or "\0" in pair:
        raise ValueError("must be key:value (a colon in the key is written as \\:)")
    return pair


_Pair = Annotated[
    str,
    Field(max_length=2 * MAX_METADATA_KEY + 1 + MAX_METADATA_VALUE),
    AfterValidator(_check_pair),
]


class ListRuns(PageQuery):
    """Query parameters of the list of runs. All metadata pairs must match."""

    status: RunStatus | None = None
    metadata: Annotated[
        list[_Pair],
        Field(
            max_length=_MAX_PAIRS,
            description="`key:value`, repeated for several pairs, which must all match. A colon in the key is written `\\:`.",
            examples=[["team:sales"]],
        ),
    ] = []  # noqa: RUF012 - pydantic copies the default of a field
    tag: Annotated[
        list[Annotated[Tag, Field(pattern=r"^[^\x00]*$")]],
        Field(
            max_length=_MAX_TAGS,
            description="Repeated for several tags, which the run must all have.",
        ),
    ] = []  # noqa: RUF012 - pydantic copies the default of a field
    test: Annotated[
        Literal["false", "true", "all"],
        Field(description="Test runs are hidden by default."),
    ] = "false"
    config_id: Annotated[
        RunConfigId | None,
        Field(alias="configId", description="Only runs made from this run configuration."),
    ] = None

    def to_filter(self, asker: EndUser) -> RunFilter:
        """The filter for the store, for one run more than the page holds; a user sees only their own runs."""
        before = None
        if self.cursor is not None:
            created_at, key = from_cursor(self.cursor, parts=2)
            before = (created_at, key)
        return RunFilter(
            status=self.status,
            metadata=tuple(_split_pair(pair) for pair in self.metadata),
            tags=tuple(self.tag),
            test=_TEST[self.test],
            config_id=self.config_id,
            auth_token_hash=asker.auth_token_hash,
            before=before,
            limit=self.fetch,
        )


def _split_pair(pair: str) -> tuple[str, str]:
    found = _PAIR.fullmatch(pair)
    if found is None:  # it was validated
        raise ValueError(pair)
    return re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL), found[2]


class GetRunQuery(BaseModel):
    """Query parameters of a run."""

    model_config = ConfigDict(extra="forbid")

    wait: Annotated[
        float, Field(ge=0, le=MAX_WAIT_SECONDS, description="Seconds to wait for a change.")
    ] = 0
    after: Annotated[
        int | None,
        Field(
            ge=0,
            le=MAX_VERSION,
            description="The last known `version`; default: the run's version at the time of the request.",
        ),
    ] = None
    until: Annotated[
        Literal["change", "final"],
        Field(description="`final`: wait for the end of the turn, not for the next change."),
    ] = "change"


_QUESTION: dict[str, Example] = {
    "question": {
        "summary": "A prompt with a result schema",
        "value": {
            "initialPrompt": "Which customer grew most this quarter, and why?",
            "attachedFunctions": [{"service": "sales", "function": "query_orders"}],
            "resultSchema": {
                "type": "object",
                "properties": {"customer": {"type": "string"}, "why": {"type": "string"}},
                "required": ["customer", "why"],
            },
            "metadata": {"team": "sales"},
        },
    }
}

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=256,
        pattern=r"^[\x20-\x7e]+$",
        description="Sending the same request with the same key again returns the same run.",
    ),
]


@router.post(
    "",
    operation_id="create_run",
    summary="Start a run",
    status_code=201,
    response_model=Run,
    responses=problems(404, body=True),
)
async def create_run(
    cluster_id: Cluster,
    request: Annotated[CreateRun, Body(openapi_examples=_QUESTION)],
    services: Services,
    asker: CurrentEndUser,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Start a run. It is stored durably before the response, and completes whatever process crashes.

    The same `id` or `Idempotency-Key` again returns the same run; with a different request it is an error (422,
    `idempotency_mismatch`).
    """
    record, _ = await services.operations.create_run(
        cluster_id, request, idempotency_key=idempotency_key, end_user=asker
    )
    return reply(present_run(record), 201)


@router.get(
    "",
    operation_id="list_runs",
    summary="List runs",
    response_model=RunPage,
    responses=problems(404),
)
async def list_runs(
    cluster_id: Cluster,
    wanted: Annotated[ListRuns, Query()],
    services: Services,
    asker: CurrentEndUser,
) -> Response:
    """Return the runs, newest first, paginated."""
    found = await services.store.runs.page(cluster_id, wanted.to_filter(asker))
    page, next_cursor = page_of(found, wanted, lambda last: to_cursor(last.created_at, last.key))
    return reply(
        RunPage(
            items=[present_run(record) for record in page],
            next_cursor=next_cursor,
        )
    )


@router.get(
    "/{runId}",
    operation_id="get_run",
    summary="Get a run, or wait for a change",
    response_model=Run,
    responses=problems(404),
)
async def get_run(ref: Ref, look: Annotated[GetRunQuery, Query()], services: Services) -> Response:
    """Return the current run. With `wait`, return as soon as the run's `version` is past `after`, or, with
    `until=final`, as soon as its turn is done, failed or cancelled.

    On timeout the response is the current run: send the request again.
    """
    record = await services.store.runs.get(ref)
    if not look.wait:
        return reply(present_run(record))
    if look.until == "final":
        waited = await wait_for_end(services, record, seconds=look.wait)
    else:
        seen = record.version if look.after is None else look.after
        waited = await wait_for_change(services, record, after=seen, seconds=look.wait)
    return reply(present_run(await services.store.runs.get(ref) if waited else record))


@router.post(
    "/{runId}/cancel",
    operation_id="cancel_run",
    summary="Cancel a run",
    response_model=Run,
    responses=problems(404, 409, body=True),
)
async def cancel_run(ref: Ref, services: Services, request: CancelRun | None = None) -> Response:
    """Cancel a run. A running one stops its model call and its functions, and is cancelled soon after.

    Cancelling a cancelled run is not an error; a run that is done or failed is a conflict (`run_is_final`).
    """
    reason = request.reason if request is not None else None
    return reply(present_run(await services.operations.cancel_run(ref, reason)))


@router.post(
    "/{runId}/resume",
    operation_id="resume_run",
    summary="Resume a paused run",
    response_model=Run,
    responses=problems(404, 409, body=True),
)
async def resume_run(ref: Ref, services: Services, request: ResumeRun | None = None) -> Response:
    """Resume a paused run after the reason of its pause was resolved.

    One that used up its budget needs a higher one (409 `budget_exhausted`, 422 `budget_too_small`); one that waits
    for approvals resumes by itself once they are decided (409 `approval_needed`).
    """
    budget = request.budget if request is not None else None
    return reply(present_run(await services.operations.resume_run(ref, budget)))


@router.delete(
    "/{runId}",
    operation_id="delete_run",
    summary="Delete a run",
    status_code=204,
    responses=problems(404),
)
async def delete_run(ref: Ref, services: Services) -> Response:
    """Delete a run permanently, whatever its status: its messages, calls, results, blobs, events and pending deliveries.

    Its workflow is stopped, pending long polls receive a 404. Its cost stays in the cluster's usage.
    """
    await services.operations.delete_run(ref)
    return Response(status_code=204)


@router.post(
    "/{runId}/feedback",
    operation_id="set_feedback",
    summary="Set feedback on a run",
    status_code=204,
    responses=problems(404, body=True),
)
async def set_feedback(ref: Ref, request: SetFeedback, services: Services) -> Response:
    """Store a comment and a score from 0 to 1 with the run. It replaces earlier feedback: null or omitted values are
    removed.
    """
    await services.store.feedback.set(ref, request.comment, request.score)
    return Response(status_code=204)
