"""What every route needs: the services behind the API, and whose key the request carries."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Header, Path, Request, Response, Security
from fastapi.security import HTTPBearer
from typing_extensions import override

from api.call_door import CallDoor
from api.errors import ApiError
from api.json_body import JsonRoute
from api.presence import Presence
from orchestrator.activity_interface import RunRef
from orchestrator.call_operations import CallOperations
from orchestrator.errors import NotFoundError
from orchestrator.operations import Operations
from orchestrator.settings import Settings
from orchestrator.store.keys import KeyStore, hash_key
from orchestrator.store.records import KeyRecord
from orchestrator.store.store import Store
from orchestrator.temporal import Temporal

KEY_CACHE_SECONDS = 2.0
"""A revoked key works at most this much longer."""
_KEY_CACHE_SIZE = 10_000


class Keyring:
    """Whose key is it? Remembered for `KEY_CACHE_SECONDS`, so that a busy client costs one look in a while."""

    def __init__(self, keys: KeyStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys = keys
        self._clock = clock
        self._known: dict[str, tuple[float, KeyRecord]] = {}

    async def identify(self, key: str) -> KeyRecord | None:
        """The record of a key; None for one that is unknown or revoked."""
        key_hash = hash_key(key)
        until, record = self._known.get(key_hash, (0.0, None))
        if record is not None and self._clock() < until:
            return record
        found = await self._keys.identify(key_hash)
        self._known.pop(key_hash, None)
        if found is not None:
            while len(self._known) >= _KEY_CACHE_SIZE:
                self._known.pop(next(iter(self._known)))
            self._known[key_hash] = (self._clock() + KEY_CACHE_SECONDS, found)
        return found


@dataclass(frozen=True, slots=True)
class ApiServices:
    """What the API stands on. `stopping` is set when the process begins to end: whoever waits answers then."""

    settings: Settings
    store: Store
    temporal: Temporal
    operations: Operations
    calls: CallOperations
    door: CallDoor
    presence: Presence
    keyring: Keyring
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


def services_of(request: Request) -> ApiServices:
    """The services that `create_app` was given."""
    services: ApiServices = request.app.state.services
    return services


async def _services_of(request: Request) -> ApiServices:
    return services_of(request)


# Dependencies are coroutines even where they wait for nothing: FastAPI runs plain functions in threads.
Services = Annotated[ApiServices, Depends(_services_of)]


# -- whose key -------------------------------------------------------------------------------------

_bearer = HTTPBearer(
    scheme_name="ApiKey",
    bearerFormat="sk_…",
    description="An API key of the cluster, as `Authorization: Bearer sk_…`.",
    auto_error=False,
)


class KeyedRoute(JsonRoute):
    """A route that looks at the key first: before the body is read, before anything is said about the request."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_keyed(request: Request) -> Response:
            await _admit(request)
            return await handle(request)

        return handle_keyed


async def _admit(request: Request) -> None:
    """Let the owner of a valid key in, to the key's own cluster. To its key every other cluster is unknown."""
    key = await services_of(request).keyring.identify(_key_in(request))
    if key is None:
        raise _unauthorized("The API key is unknown or revoked.")
    cluster_id = request.path_params.get("clusterId", key.cluster_id)
    if cluster_id != key.cluster_id:
        raise NotFoundError(f"There is no cluster {cluster_id[:100]!r}.")
    request.state.key = key


def _key_in(request: Request) -> str:
    """`Authorization: Bearer sk_…`; a key without a scheme is taken too."""
    words = request.headers.get("authorization", "").split()
    if len(words) == 1 and words[0].lower() != "bearer":
        return words[0]
    if len(words) == len(("Bearer", "sk_…")) and words[0].lower() == "bearer":
        return words[1]
    raise _unauthorized("Send an API key of the cluster, as `Authorization: Bearer sk_…`.")


def _unauthorized(detail: str) -> ApiError:
    return ApiError(
        HTTPStatus.UNAUTHORIZED, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"}
    )


async def _key_of(request: Request, _: Annotated[object, Security(_bearer)]) -> KeyRecord:
    key: KeyRecord = request.state.key
    return key


Key = Annotated[KeyRecord, Depends(_key_of)]

# -- parameters that several routes take -----------------------------------------------------------

_NO_NUL = r"^[^\x00]*$"


async def _cluster_of(
    cluster_id: Annotated[
        str,
        Path(alias="clusterId", description="The cluster that the key belongs to; see `GET /me`."),
    ],
    _: Key,
) -> str:
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
"""The run of the path, which need not exist."""

MachineId = Annotated[
    str,
    Header(
        alias="x-machine-id",
        min_length=1,
        max_length=256,
        pattern=r"^[\x20-\x7e]+$",
        description="The function worker's own name, the same for its whole life and nobody else's.",
    ),
]


@dataclass(frozen=True, slots=True)
class HeldCall:
    """A call and the machine that says it holds it."""

    cluster_id: str
    call_id: str
    machine_id: str


async def _held_call_of(
    cluster_id: Cluster,
    call_id: Annotated[
        str, Path(alias="callId", max_length=256, pattern=_NO_NUL, description="The call's id.")
    ],
    machine_id: MachineId,
) -> HeldCall:
    return HeldCall(cluster_id, call_id, machine_id)


Held = Annotated[HeldCall, Depends(_held_call_of)]
