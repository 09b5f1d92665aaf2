"""Custom auth: tokens that the cluster's function `default.handleCustomAuth` verifies.

The function's answers are cached per cluster, token and version of the cluster's settings: the object in memory,
never in the store, and the token only as a hash. Concurrent requests with a new token cause one call.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from pydantic import JsonValue

from api.http.errors import ApiError
from orchestrator.errors import UnavailableError
from orchestrator.operations.run_requests import EndUser
from orchestrator.store.tenants.clusters import ClusterRecord

ACCEPTED_TTL_SECONDS = 300.0
REFUSED_TTL_SECONDS = 60.0
UNAVAILABLE_TTL_SECONDS = 5.0
"""Seconds without another call after no function worker answered."""
MAX_TOKEN = 8_192
"""Characters."""
MAX_CONCURRENT_CHECKS = 20
"""Tokens of one cluster that its function may verify at once."""
_CACHE_SIZE = 10_000


@dataclass(frozen=True, slots=True)
class AuthRefusal:
    """The token was rejected. `reason` is for the operator of the cluster."""

    reason: str


AuthResult = Mapping[str, JsonValue] | AuthRefusal
Authenticate = Callable[[str, str], Awaitable[AuthResult]]
"""Verifies a token by the cluster's function. Raises `UnavailableError` if no function worker answers in time."""
_CacheKey = tuple[str, int | None, str]


class CustomAuth:
    """Verifies tokens, with a cache."""

    def __init__(
        self, authenticate: Authenticate, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._authenticate = authenticate
        self._clock = clock
        self._cache: dict[_CacheKey, tuple[float, AuthResult | UnavailableError]] = {}
        self._in_flight: dict[_CacheKey, asyncio.Task[AuthResult | UnavailableError]] = {}
        self._in_flight_of_cluster: Counter[str] = Counter()

    async def authenticate(self, cluster: ClusterRecord, token: str) -> EndUser:
        """The token's owner. Raises `ApiError`: 401 if rejected, 503 if it could not be verified."""
        if len(token) > MAX_TOKEN:
            raise unauthorized(f"A token may have at most {MAX_TOKEN} characters.")
        token_hash = hashlib.sha256(token.encode("utf-8", "backslashreplace")).hexdigest()
        key = (cluster.id, cluster.updated_at, token_hash)
        until, result = self._cache.get(key, (0.0, None))
        if result is None or self._clock() >= until:
            result = await self._authenticate_once(key, token)
        match result:
            case UnavailableError():
                raise _unavailable(result.detail)
            case AuthRefusal(why):
                raise unauthorized(why)
            case context:
                return EndUser(auth_context=context, auth_token_hash=token_hash)

    async def _authenticate_once(self, key: _CacheKey, token: str) -> AuthResult | UnavailableError:
        task = self._in_flight.get(key)
        if task is None:
            if self._in_flight_of_cluster[key[0]] >= MAX_CONCURRENT_CHECKS:
                raise _unavailable("Too many new tokens are being verified.")
            task = asyncio.create_task(self._authenticate_and_cache(key, token))
            self._in_flight[key] = task
        return await asyncio.shield(task)

    async def _authenticate_and_cache(
        self, key: _CacheKey, token: str
    ) -> AuthResult | UnavailableError:
        self._in_flight_of_cluster[key[0]] += 1
        try:
            result: AuthResult | UnavailableError = await self._authenticate(key[0], token)
        except UnavailableError as error:
            result = error
        finally:
            self._in_flight.pop(key, None)
            self._in_flight_of_cluster[key[0]] -= 1
        self._store(key, result)
        return result

    def _store(self, key: _CacheKey, result: AuthResult | UnavailableError) -> None:
        match result:
            case UnavailableError():
                seconds = UNAVAILABLE_TTL_SECONDS
            case AuthRefusal():
                seconds = REFUSED_TTL_SECONDS
            case _:
                seconds = ACCEPTED_TTL_SECONDS
        self._cache.pop(key, None)
        while len(self._cache) >= _CACHE_SIZE:
            self._cache.pop(next(iter(self._cache)))
        self._cache[key] = (self._clock() + seconds, result)

    async def aclose(self) -> None:
        """Cancel all verifications."""
        for task in self._in_flight.values():
            task.cancel()
        await asyncio.gather(*self._in_flight.values(), return_exceptions=True)


def unauthorized(reason: str) -> ApiError:
    """401: the token was rejected."""
    return ApiError(
        HTTPStatus.UNAUTHORIZED, "unauthorized", reason, headers={"WWW-Authenticate": "Bearer"}
    )


def _unavailable(reason: str) -> ApiError:
    return ApiError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "custom_auth_unavailable",
        reason,
        headers={"Retry-After": str(int(UNAVAILABLE_TTL_SECONDS))},
    )
