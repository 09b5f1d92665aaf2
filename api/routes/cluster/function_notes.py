"""Function note routes: operators extend a function's description for the model."""

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
    summary="Set a function note",
    status_code=204,
    responses=problems(404, body=True),
)
async def put_function_note(of: _Of, request: SetFunctionNote, services: Services) -> Response:
    """Add a note to the function's description, from the next model step on. The function may be unregistered."""
    await services.store.notes.put(of.cluster_id, of.service, of.name, request.additional_context)
    return Response(status_code=204)


@router.get(
    _PATH,
    operation_id="get_function_note",
    summary="Get a function note",
    response_model=FunctionNote,
    responses=problems(404),
)
async def get_function_note(of: _Of, services: Services) -> Response:
    """Return the note. 404 if there is none."""
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
    summary="Delete a function note",
    status_code=204,
    responses=problems(404),
)
async def delete_function_note(of: _Of, services: Services) -> Response:
    """Delete the note. The model then receives the function's own description only."""
    await services.store.notes.delete(of.cluster_id, of.service, of.name)
    return Response(status_code=204)
