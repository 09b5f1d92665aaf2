"""Notes on functions: what operators add to a function's description, for the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from api.dependencies import Cluster, KeyedRoute, Services
from api.http.openapi import problems
from api.http.responses import reply
from orchestrator.runtime.clock import to_datetime
from perdure.contract import FunctionName, FunctionNote, ServiceName, SetFunctionNote

_PATH = "/clusters/{clusterId}/{service}/{function}/metadata"

router = APIRouter(tags=["services"], route_class=KeyedRoute)


@dataclass(frozen=True, slots=True)
class _Function:
    cluster_id: str
    service: str
    name: str


async def _function_of(
    cluster_id: Cluster,
    service: Annotated[ServiceName, Path(description="The service's name.")],
    function: Annotated[FunctionName, Path(description="The function's name.")],
) -> _Function:
    return _Function(cluster_id, service, function)


_Of = Annotated[_Function, Depends(_function_of)]


@router.put(
    _PATH,
    operation_id="put_function_note",
    summary="Write a note on a function",
    status_code=204,
    responses=problems(404, body=True),
)
async def put_function_note(of: _Of, request: SetFunctionNote, services: Services) -> Response:
    """Tell the model more about a function, from the next model step on. The function need not be registered yet."""
    await services.store.notes.put(of.cluster_id, of.service, of.name, request.additional_context)
    return Response(status_code=204)


@router.get(
    _PATH,
    operation_id="get_function_note",
    summary="Read the note on a function",
    response_model=FunctionNote,
    responses=problems(404),
)
async def get_function_note(of: _Of, services: Services) -> Response:
    """The note; 404 where none was written."""
    record = await services.store.notes.get(of.cluster_id, of.service, of.name)
    return reply(
        FunctionNote(
            service=record.service,
            function=record.function,
            additional_context=record.additional_context,
            updated_at=to_datetime(record.updated_at),
        )
    )


@router.delete(
    _PATH,
    operation_id="delete_function_note",
    summary="Take away the note on a function",
    status_code=204,
    responses=problems(404),
)
async def delete_function_note(of: _Of, services: Services) -> Response:
    """The model is told no more than the function's own description."""
    await services.store.notes.delete(of.cluster_id, of.service, of.name)
    return Response(status_code=204)
