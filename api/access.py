"""Authentication and authorization, before the body is read and before the request is validated.

| principal | credential | permissions |
|---|---|---|
| the owner of a key | `Authorization: Bearer sk_…` | those of the key's scopes, in the key's cluster |
| … with the scope `management` | the same | those of admin and client, in every cluster |
| a user of the cluster's owner | `Authorization: custom TOKEN` | create runs, and access runs of the same token |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import Request

from api.auth.custom_auth import unauthorized
from api.auth.rate_limits import classify
from api.auth.scopes import UNAUDITED, USER, granted_scopes, required_scopes
from api.context import ApiServices, services_of
from api.http.after_response import response_hooks
from api.http.dialect import Credential, dialect_of
from api.http.errors import ApiError
from orchestrator.errors import NotFoundError
from orchestrator.operations.run_requests import NO_END_USER, EndUser
from orchestrator.runtime.clock import now_ms
from orchestrator.store.database.json_columns import to_storable_text
from orchestrator.store.records import KeyRecord
from orchestrator.store.tenants.audit_log import MAX_ACTOR, MAX_TARGET, AuditEntry
from orchestrator.store.tenants.clusters import ClusterRecord
from orchestrator.workflows.interface import RunRef

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_MAX_RUN_ID = 128
SCHEMES = frozenset({"bearer", USER})
"""Schemes of the header `Authorization`, in lower case."""
MAX_MACHINE_ID = 256
_KEY_REQUIRED = "Send an API key of the cluster, as `Authorization: Bearer sk_…`."
_NO_CUSTOM_AUTH = (
    "This path accepts no custom tokens: the cluster is unknown, or `enableCustomAuth` is off."
)


@dataclass(frozen=True, slots=True)
class _Principal:
    """The authenticated sender of a request."""

    key: KeyRecord
    cluster_id: str
    scopes: frozenset[str]
    end_user: EndUser = NO_END_USER


async def authorize(request: Request, operation: str) -> None:
    """Authenticate and authorize the request; writes `key` and `end_user` into the request's state.

    Raises `ApiError` (401, 403, 429, 503), and `NotFoundError` if the key's owner must not learn whether the cluster exists.
    """
    credential = _credential(request)
    services = services_of(request)
    if credential.custom:
        principal = await _authenticate_end_user(services, request, operation, credential.token)
    else:
        principal = await _authenticate_key(services, request, credential.token)
        await _acquire_slot(services, request, operation, principal.cluster_id)
    if request.method not in _READING and operation not in UNAUDITED:
        _audit(services, request, operation, principal)
    _check_scope(principal, operation)
    if principal.end_user.auth_token_hash is not None:
        await _check_run(services, request, principal)
    machine_id = request.headers.get("x-machine-id", "")
    if 0 < len(machine_id) <= MAX_MACHINE_ID:
        services.liveness.set_info(
            principal.cluster_id, machine_id, *_client_info(services, request)
        )
    request.state.key = principal.key
    request.state.end_user = principal.end_user


def _credential(request: Request) -> Credential:
    """The request's credential, read by its dialect. Raises `ApiError` (401)."""
    dialect = dialect_of(request)
    if dialect is not None and dialect.authenticate is not None:
        credential = dialect.authenticate(request)
    else:
        credential = credential_in(request.headers.get("authorization", "").split())
    if credential is None:
        raise unauthorized(_KEY_REQUIRED)
    return credential


def credential_in(words: Sequence[str]) -> Credential | None:
    """The credential of an `Authorization` header: a scheme and a token. None for any other text."""
    match words:
        case [scheme, token] if scheme.lower() in SCHEMES:
            return Credential(token, custom=scheme.lower() == USER)
        case _:
            return None


async def _authenticate_key(services: ApiServices, request: Request, credential: str) -> _Principal:
    """The owner of a valid key. Other clusters do not exist for it, unless it has the scope `management`."""
    key = await services.key_cache.identify(credential)
    if key is None:
        raise unauthorized("The API key is unknown or revoked.")
    cluster_id: str = request.path_params.get("clusterId", key.cluster_id)
    scopes = granted_scopes(key, cluster_id)
    if cluster_id != key.cluster_id and (
        not scopes or await services.cluster_cache.find(cluster_id) is None
    ):
        raise NotFoundError(f"There is no cluster {cluster_id[:100]!r}.")
    return _Principal(key, cluster_id, scopes)


async def _authenticate_end_user(
    services: ApiServices, request: Request, operation: str, token: str
) -> _Principal:
    """A user authenticated by the cluster's auth function."""
    cluster_id = request.path_params.get("clusterId")
    cluster: ClusterRecord | None = None
    if isinstance(cluster_id, str):
        cluster = await services.cluster_cache.find(cluster_id)
    if cluster is None or not cluster.custom_auth:
        raise unauthorized(_NO_CUSTOM_AUTH)
    await _acquire_slot(services, request, operation, cluster.id)
    if USER not in required_scopes(operation):
        raise unauthorized(f"A custom token gives access to runs only. {_KEY_REQUIRED}")
    end_user = await services.custom_auth.authenticate(cluster, token)
    name = f"custom token {(end_user.auth_token_hash or '')[:8]}"
    anonymous_key = KeyRecord("", cluster.id, name, "", None, cluster.created_at, None)
    return _Principal(anonymous_key, cluster.id, frozenset({USER}), end_user)


async def _acquire_slot(
    services: ApiServices, request: Request, operation: str, cluster_id: str
) -> None:
    release_slot = await services.rate_limiter.acquire(cluster_id, classify(request, operation))
    response_hooks(request).on_complete(release_slot)


def _audit(services: ApiServices, request: Request, operation: str, principal: _Principal) -> None:
    at = now_ms()
    path = request.url.path.removeprefix(f"/clusters/{principal.cluster_id}").strip("/")
    actor = actor_of(principal.key)

    def record(status: int) -> None:
        target = f"{path}{getattr(request.state, 'made', '')}" or f"clusters/{principal.cluster_id}"
        services.audit_writer.record(
            AuditEntry(
                cluster_id=principal.cluster_id,
                actor=actor,
                operation=operation,
                target=to_storable_text(target)[:MAX_TARGET],
                status=status,
                created_at=at,
            )
        )

    response_hooks(request).on_complete(record)


def actor_of(key: KeyRecord) -> str:
    """The actor for the audit trail: the key's name and the beginning of its id."""
    return f"{key.name[: MAX_ACTOR - 20]} {key.id[:10]}".strip()


def _check_scope(principal: _Principal, operation: str) -> None:
    required = required_scopes(operation)
    if principal.scopes & required:
        return
    listed = " or ".join(f"`{scope}`" for scope in sorted(required - {USER}))
    raise forbidden(f"This requires a key with the scope {listed}. Create one with it.")


def forbidden(detail: str) -> ApiError:
    """403: authenticated, but not allowed."""
    return ApiError(HTTPStatus.FORBIDDEN, "forbidden", detail)


async def _check_run(services: ApiServices, request: Request, principal: _Principal) -> None:
    """Raise `NotFoundError` for a run of another token."""
    run_id = request.path_params.get("runId")
    if not isinstance(run_id, str) or len(run_id) > _MAX_RUN_ID or "\0" in run_id:
        return  # the path names no run, or an invalid id
    run = await services.store.runs.get(RunRef(principal.cluster_id, run_id))
    if run.auth_token_hash != principal.end_user.auth_token_hash:
        raise NotFoundError(f"There is no run {run_id!r}.")


def _client_info(services: ApiServices, request: Request) -> tuple[str | None, str | None]:
    """A machine's address and its client's name. The address is taken from a proxy's header only if the proxy is trusted."""
    ip = request.client.host if request.client else None
    forwarded = request.headers.get("x-forwarded-for", "").split(",")[0].strip()
    if services.settings.trust_forwarded and forwarded:
        ip = forwarded
    version = request.headers.get("x-machine-sdk-version")
    language = request.headers.get("x-machine-sdk-language", "")
    sdk = f"{language} {version}" if version else request.headers.get("user-agent")
    return to_storable_text(ip)[:64] if ip else None, to_storable_text(sdk).strip()[
        :64
    ] if sdk else None
