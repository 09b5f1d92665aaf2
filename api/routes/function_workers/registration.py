"""Registration routes: function workers register their functions and report dead machines."""

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
"""A registered machine must poll within this time."""


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
    """Replace this machine's registered functions of a service. Registrations of other machines do not change.

    `{}` registers nothing and returns the cluster of the key; the scope `client` is sufficient for it.
    """
    if request.service is not None and Scope.MACHINE not in granted_scopes(key, key.cluster_id):
        raise forbidden("Registering functions requires a key with the scope `machine`.")
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
    summary="Report a dead machine",
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
    """Release the calls of a function worker whose process is known to be dead, before its heartbeats time out.

    Attempts that the machine had acknowledged still count. If the machine is alive after all, it loses its leases and
    its results are rejected.
    """
    await services.store.machines.mark_offline(cluster_id, machine_id)
    services.liveness.invalidate(cluster_id, machine_id)
    await services.calls.release_lost_worker(cluster_id, machine_id)
    services.dispatcher.release()
    return Response(status_code=204)
