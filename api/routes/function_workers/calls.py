"""Call routes for function workers: poll, heartbeat, result."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.background import BackgroundTask
from typing_extensions import override

from api.dependencies import (
    ApiServices,
    Cluster,
    CurrentLease,
    KeyedRoute,
    MachineId,
    Services,
    services_of,
)
from api.http.dialect import ClientProfile, RequestProfile
from api.http.errors import ApiError
from api.http.openapi import problems
from api.http.responses import reply
from orchestrator.errors import OrchestratorError, SupersededError, UnknownServiceError
from orchestrator.operations.calls import CallLease
from orchestrator.store.calls.rows import task_queue_name
from orchestrator.store.records import KeyRecord
from perdure.contract import (
    MAX_FUNCTIONS_PER_SERVICE,
    MAX_RESULT_BYTES,
    FunctionCall,
    Heartbeat,
    HeartbeatReply,
    PostResult,
    ServiceName,
)

MAX_WAIT = 20
"""Upper limit of a poll's `wait`, in seconds."""
MAX_CALLS = 20
_LIVENESS_SECONDS = 15.0
"""Seconds within which a live machine polls or sends a heartbeat again."""
_NAMES = rf"^[A-Za-z0-9_-]{{1,64}}(,[A-Za-z0-9_-]{{1,64}}){{0,{MAX_FUNCTIONS_PER_SERVICE - 1}}}$"

router = APIRouter(
    prefix="/clusters/{clusterId}/calls", tags=["function workers"], route_class=KeyedRoute
)


class _ResultRoute(KeyedRoute):
    """Route for function results. It accepts NUL characters and lone surrogates.

    An unacceptable result fails the call at once: the model receives the error, and the call does not wait for its
    timeout.
    """

    max_bytes = MAX_RESULT_BYTES + 64 * 1024
    any_text = True

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_result(request: Request) -> Response:
            try:
                return await handle(request)
            except ApiError as error:
                await _reject_result(request, error)
                raise

        return handle_result


results = APIRouter(
    prefix="/clusters/{clusterId}/calls", tags=["function workers"], route_class=_ResultRoute
)


async def _reject_result(request: Request, error: ApiError) -> None:
    key: KeyRecord | None = getattr(request.state, "key", None)
    machine_id = request.headers.get("x-machine-id")
    if key is not None and machine_id:
        with contextlib.suppress(
            OrchestratorError
        ):  # the machine holds no lease on this call: there is nothing to fail
            await services_of(request).calls.reject_result(
                CallLease(key.cluster_id, request.path_params["callId"], machine_id), error.detail
            )


class PollCalls(BaseModel):
    """Query parameters of a poll."""

    model_config = ConfigDict(extra="forbid")

    service: ServiceName
    functions: Annotated[
        str | None,
        Field(
            pattern=_NAMES,
            description="Comma-separated names of the functions with free capacity. Default: all that this machine registered.",
        ),
    ] = None
    limit: Annotated[int, Field(ge=1, le=MAX_CALLS)] = 10
    wait: Annotated[float, Field(ge=0, le=MAX_WAIT, description="Seconds to wait for a call.")] = 0


@dataclass(frozen=True, slots=True)
class _PollingWorker:
    """The function worker that sends the poll."""

    cluster_id: str
    id: str
    profile: ClientProfile


async def _polling_worker_of(
    cluster_id: Cluster, machine_id: MachineId, profile: RequestProfile
) -> _PollingWorker:
    return _PollingWorker(cluster_id, machine_id, profile)


@router.get(
    "",
    operation_id="poll_calls",
    summary="Wait for calls",
    response_model=list[FunctionCall],
    responses={
        200: {"headers": {"Retry-After": {"schema": {"type": "string"}}}},
        **problems(404, 410),
    },
)
async def poll_calls(
    machine: Annotated[_PollingWorker, Depends(_polling_worker_of)],
    wanted: Annotated[PollCalls, Query()],
    services: Services,
    request: Request,
) -> Response:
    """Lease calls of a service's functions (long poll). Poll again at once; an empty list is not an error.

    Acknowledge each call by a heartbeat at once, then send one every few seconds. The machine must have registered
    the functions that it polls for (410 otherwise).
    """
    names = await _registered_functions(services, machine, wanted)
    wait = min(wanted.wait, services.settings.max_wait_seconds)
    heartbeats = machine.profile.sends_heartbeats
    if machine.profile.answer_first_poll_at_once and not services.liveness.knows(
        machine.cluster_id, machine.id
    ):
        wait = 0
    await services.liveness.touch(
        machine.cluster_id, machine.id, heartbeats=heartbeats, seconds=wait + _LIVENESS_SECONDS
    )
    disconnected = asyncio.Event()
    watch = asyncio.create_task(_watch(request, services, disconnected))
    try:
        calls = await services.dispatcher.poll(
            machine.id,
            [task_queue_name(machine.cluster_id, wanted.service, name) for name in names],
            limit=wanted.limit,
            wait=wait,
            disconnected=disconnected,
            batch_seconds=machine.profile.batch_seconds,
        )
    finally:
        watch.cancel()
    stopping = services.stopping.is_set()
    if disconnected.is_set() and not stopping and not services.dispatcher.is_waiting(machine.id):
        await services.liveness.mark_offline(machine.cluster_id, machine.id, heartbeats=heartbeats)
    response = reply(calls, headers={"Retry-After": "1" if stopping else "0"})
    if calls and not heartbeats:
        response.background = BackgroundTask(_acknowledge, services, machine, calls)
    return response


async def _acknowledge(
    services: ApiServices, machine: _PollingWorker, calls: Sequence[FunctionCall]
) -> None:
    """Confirm the leases of a machine that sends no heartbeats, and extend its liveness until the calls time out."""
    await services.liveness.extend(
        machine.cluster_id,
        machine.id,
        heartbeats=False,
        seconds=max(call.timeout_seconds for call in calls) + _LIVENESS_SECONDS,
    )
    for call in calls:
        await services.store.calls.acknowledge(
            machine.cluster_id, call.id, machine.id, call.attempt
        )


async def _registered_functions(
    services: ApiServices, machine: _PollingWorker, wanted: PollCalls
) -> frozenset[str]:
    """Return the names of the functions to poll for. Raises `UnknownServiceError` for an unregistered function."""
    known = await services.store.functions.registered(
        machine.cluster_id, machine.id, wanted.service
    )
    names = known if wanted.functions is None else frozenset(wanted.functions.split(","))
    if not known or not names <= known:
        missing = ", ".join(sorted(names - known)[:5]) or "any function"
        raise UnknownServiceError(
            f"This machine has not registered {missing} of service {wanted.service!r}: POST /machines first."
        )
    return names


async def _watch(request: Request, services: ApiServices, disconnected: asyncio.Event) -> None:
    """Return when the response is no longer needed: the client disconnected, or this process is shutting down."""
    stop = asyncio.ensure_future(services.stopping.wait())
    left = asyncio.ensure_future(_wait_for_disconnect(request))
    try:
        await asyncio.wait({stop, left}, return_when=asyncio.FIRST_COMPLETED)
        disconnected.set()
    finally:
        stop.cancel()
        left.cancel()


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


@router.post(
    "/{callId}/heartbeat",
    operation_id="keep_call",
    summary="Send a heartbeat",
    response_model=HeartbeatReply,
    responses=problems(404, 409, body=True),
)
async def keep_call(
    lease: CurrentLease, services: Services, request: Heartbeat | None = None
) -> Response:
    """Report that the function is still running. The first heartbeat acknowledges the call and starts the attempt.

    The response says whether to stop. 409: this machine no longer holds the call's lease.
    """
    await services.liveness.touch(
        lease.cluster_id, lease.machine_id, heartbeats=True, seconds=_LIVENESS_SECONDS
    )
    if request is not None:
        lease = lease._replace(attempt=request.attempt)
    cancelled = await services.calls.heartbeat(lease)
    return reply(HeartbeatReply(cancelled=cancelled))


@results.post(
    "/{callId}/result",
    operation_id="post_result",
    summary="Submit the result of a call",
    status_code=204,
    responses=problems(404, 409, body=True),
)
async def post_result(
    lease: CurrentLease, request: PostResult, services: Services, profile: RequestProfile
) -> Response:
    """Submit the value or the error of a function.

    409: the result was not accepted, because it is late, a duplicate, or from a machine without the lease.
    """
    try:
        await services.calls.post_result(lease._replace(attempt=request.attempt), request)
    except SupersededError:
        if profile.accepts_409:
            raise
        await services.store.calls.log_superseded(lease.cluster_id, lease.call_id, lease.machine_id)
    services.dispatcher.release(lease.call_id)
    return Response(status_code=204)
