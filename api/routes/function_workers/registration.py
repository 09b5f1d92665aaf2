"""Function workers register here what they offer."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from api.access import forbidden
from api.auth.scopes import granted_scopes
from api.dependencies import Cluster, Key, KeyedRoute, MachineId, Services
from api.http.dialect import RequestProfile
from api.http.openapi import problems
from api.http.responses import reply
from orchestrator.runtime.clock import now_ms
from perdure.contract import Registered, RegisterMachine, Scope

router = APIRouter(tags=["function workers"], route_class=KeyedRoute)

_FIRST_POLL_MS = 30_000
"""A machine that registered is expected to ask for calls within this time."""


@router.post(
    "/machines",
    operation_id="register_machine",
    summary="Register functions",
    response_model=Registered,
    responses=problems(409, body=True),
)
async def register_machine(
    request: RegisterMachine,
    machine_id: MachineId,
    services: Services,
    key: Key,
    profile: RequestProfile,
) -> Response:
    """Replace what this machine offers of a service; other machines' functions of it stay as they are.

    `{}` registers nothing and answers which cluster the key belongs to; that takes no more than the scope `client`.
    """
    if request.service is not None and Scope.MACHINE not in granted_scopes(key, key.cluster_id):
        raise forbidden("To register functions takes a key with the scope `machine`.")
    await services.operations.register(
        key.cluster_id,
        machine_id,
        request,
        heartbeats=profile.sends_heartbeats,
        alive_until=now_ms() + _FIRST_POLL_MS,
    )
    services.liveness.invalidate(key.cluster_id, machine_id)
    return reply(Registered(cluster_id=key.cluster_id))


@router.post(
    "/clusters/{clusterId}/machines/{machineId}/lost",
    operation_id="report_lost_machine",
    summary="Say that a machine is dead",
    status_code=204,
    responses=problems(404),
)
async def report_lost_machine(
    cluster_id: Cluster,
    machine_id: Annotated[
        str, Path(alias="machineId", max_length=256, description="The dead machine's own name.")
    ],
    services: Services,
) -> Response:
    """Give the calls of a function worker whose process is certainly dead to others, before its heartbeats are missed.

    An attempt that it had acknowledged stays counted. A machine that lives after all loses its calls: what it returns
    is refused.
    """
    await services.store.machines.mark_offline(cluster_id, machine_id)
    services.liveness.invalidate(cluster_id, machine_id)
    await services.calls.release_lost_worker(cluster_id, machine_id)
    services.dispatcher.release()
    return Response(status_code=204)
