"""Custom auth: a token that the cluster's own function judges, `default.handleCustomAuth`.

What the function returned is remembered, per cluster, token and state of the cluster's settings: the object itself,
never a row, and of the token only its hash. Several requests with one new token ask once.
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
from orchestrator.operations.run_requests import Caller
from orchestrator.store.tenants.clusters import ClusterRecord

ACCEPTED_SECONDS = 300.0
REFUSED_SECONDS = 60.0
UNANSWERED_SECONDS = 5.0
"""So long nobody is asked again where no function worker answered."""
MAX_TOKEN = 8_192
"""Characters."""
MAX_ASKING = 20
"""Tokens of one cluster that may be with its function at once."""
_CACHE_SIZE = 10_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """The function, or the lack of it, said no. `why` is for whoever runs the cluster."""

    why: str


Verdict = Mapping[str, JsonValue] | Refusal
Ask = Callable[[str, str], Awaitable[Verdict]]
"""Has the cluster's function judge a token. Raises `UnavailableError` where nobody answers in time."""
_Place = tuple[str, int | None, str]


class CustomAuth:
    """Judges tokens, each once in a while."""

    def __init__(self, ask: Ask, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._known: dict[_Place, tuple[float, Verdict | UnavailableError]] = {}
        self._asking: dict[_Place, asyncio.Task[Verdict | UnavailableError]] = {}
        self._of_cluster: Counter[str] = Counter()

    async def judge(self, cluster: ClusterRecord, token: str) -> Caller:
        """Who the token's owner is. Raises `ApiError`: 401 refused, 503 nobody could say."""
        if len(token) > MAX_TOKEN:
            raise refused(f"A token may have at most {MAX_TOKEN} characters.")
        token_hash = hashlib.sha256(token.encode("utf-8", "backslashreplace")).hexdigest()
        place = (cluster.id, cluster.updated_at, token_hash)
        until, verdict = self._known.get(place, (0.0, None))
        if verdict is None or self._clock() >= until:
            verdict = await self._ask_once(place, token)
        match verdict:
            case UnavailableError():
                raise _unavailable(verdict.detail)
            case Refusal(why):
                raise refused(why)
            case context:
                return Caller(auth_context=context, auth_token_hash=token_hash)

    async def _ask_once(self, place: _Place, token: str) -> Verdict | UnavailableError:
        asking = self._asking.get(place)
        if asking is None:
            if self._of_cluster[place[0]] >= MAX_ASKING:
                raise _unavailable("Too many new tokens are being looked at.")
            asking = asyncio.create_task(self._learn(place, token))
            self._asking[place] = asking
        return await asyncio.shield(asking)

    async def _learn(self, place: _Place, token: str) -> Verdict | UnavailableError:
        self._of_cluster[place[0]] += 1
        try:
            verdict: Verdict | UnavailableError = await self._ask(place[0], token)
        except UnavailableError as error:
            verdict = error
        finally:
            self._asking.pop(place, None)
            self._of_cluster[place[0]] -= 1
        self._remember(place, verdict)
        return verdict

    def _remember(self, place: _Place, verdict: Verdict | UnavailableError) -> None:
        match verdict:
            case UnavailableError():
                seconds = UNANSWERED_SECONDS
            case Refusal():
                seconds = REFUSED_SECONDS
            case _:
                seconds = ACCEPTED_SECONDS
        self._known.pop(place, None)
        while len(self._known) >= _CACHE_SIZE:
            self._known.pop(next(iter(self._known)))
        self._known[place] = (self._clock() + seconds, verdict)

    async def aclose(self) -> None:
        """Ask nobody any more."""
        for asking in self._asking.values():
            asking.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)


def refused(why: str) -> ApiError:
    """401: the token opens nothing here."""
    return ApiError(
        HTTPStatus.UNAUTHORIZED, "unauthorized", why, headers={"WWW-Authenticate": "Bearer"}
    )


def _unavailable(why: str) -> ApiError:
    return ApiError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "custom_auth_unavailable",
        why,
        headers={"Retry-After": str(int(UNANSWERED_SECONDS))},
    )
