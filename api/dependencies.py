"""Dependencies of routes: the services of the API, the request's key, common parameters."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Header, Path, Request, Response, Security
from fastapi.security import HTTPBearer
from typing_extensions import override

from api.access import MAX_MACHINE_ID, authorize
from api.context import ApiServices, services_of
from api.http.errors import ApiError
from api.http.json_body import JsonRoute
from api.http.validation import MAX_PARAMETERS, has_too_many
from orchestrator.operations.calls import CallLease
from orchestrator.operations.run_requests import EndUser
from orchestrator.store.records import KeyRecord
from orchestrator.workflows.interface import RunRef

__all__ = [
    "ApiServices",
    "Cluster",
    "CurrentEndUser",
    "CurrentLease",
    "Key",
    "KeyedRoute",
    "MachineId",
    "Ref",
    "Services",
    "services_of",
]


async def _services_of(request: Request) -> ApiServices:
    return services_of(request)


# Dependencies are coroutines even if they await nothing: FastAPI runs plain functions in threads.
Services = Annotated[ApiServices, Depends(_services_of)]


# -- whose key -------------------------------------------------------------------------------------

_bearer = HTTPBearer(
    scheme_name="ApiKey",
    bearerFormat="sk_…",
    description="An API key of the cluster, as `Authorization: Bearer sk_…`.",
    auto_error=False,
)


class KeyedRoute(JsonRoute):
    """A route that requires a key with the scope of its operation; see `api/auth/scopes.py`.

    That is checked first, before the body is read and before the request is validated. So no dependency has to
    check it again, which FastAPI would do once for each use of the dependency.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        options["dependencies"] = [Security(_bearer), *(options.get("dependencies") or ())]
        super().__init__(path, endpoint, **options)

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_keyed(request: Request) -> Response:
            await authorize(request, self.operation_id or "")
            if has_too_many(request.scope["query_string"]):
                raise ApiError(
                    HTTPStatus.UNPROCESSABLE_ENTITY,
                    "invalid_request",
                    f"A query may have at most {MAX_PARAMETERS} parameters.",
                )
            return await handle(request)

        return handle_keyed


async def _key_of(request: Request) -> KeyRecord:
    key: KeyRecord = request.state.key
    return key


Key = Annotated[KeyRecord, Depends(_key_of)]
"""The request's key. Its cluster can differ from that of the path."""


async def _end_user_of(request: Request) -> EndUser:
    end_user: EndUser = request.state.end_user
    return end_user


CurrentEndUser = Annotated[EndUser, Depends(_end_user_of)]
"""The user, as the cluster's auth function returned it; empty for a request with a key."""

# -- parameters that several routes take -----------------------------------------------------------

_NO_NUL = r"^[^\x00]*$"


async def _cluster_of(
    cluster_id: Annotated[
        str,
        Path(alias="clusterId", description="The cluster that the key belongs to; see `GET /me`."),
    ],
    request: Request,
) -> str:
    # Missing if the request was not authenticated: fail rather than let it in.
    _ = request.state.key
    return cluster_id


Cluster = Annotated[str, Depends(_cluster_of)]
"""Id of the key's cluster, from the path."""


async def _run_ref_of(
    cluster_id: Cluster,
    run_id: Annotated[
        str, Path(alias="runId", max_length=128, pattern=_NO_NUL, description="The run's id.")
    ],
) -> RunRef:
    return RunRef(cluster_id, run_id)


Ref = Annotated[RunRef, Depends(_run_ref_of)]
"""The run of the path. It may not exist."""

MachineId = Annotated[
    str,
    Header(
        alias="x-machine-id",
        min_length=1,
        max_length=MAX_MACHINE_ID,
        pattern=r"^[\x20-\x7e]+$",
        description="The function worker's unique id, the same for its whole life.",
    ),
]


async def _call_lease_of(
    cluster_id: Cluster,
    call_id: Annotated[
        str, Path(alias="callId", max_length=256, pattern=_NO_NUL, description="The call's id.")
    ],
    machine_id: MachineId,
) -> CallLease:
    return CallLease(cluster_id, call_id, machine_id)


CurrentLease = Annotated[CallLease, Depends(_call_lease_of)]
