"""How much a cluster may ask of one process: requests a second, and requests at once.

Machines and clients have limits of their own, and so have requests that wait (long polls, streams) and requests that
work. So nobody's waiting takes another's turn, and a flood of clients starves no function worker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from fastapi import Request

from api.http.dialect import client_profile
from api.http.errors import RETRY_AFTER_SECONDS, ApiError

if TYPE_CHECKING:
    from api.auth.request_rate import RequestRate

_MACHINES = frozenset(
    {
        *("poll_calls", "keep_call", "post_result", "create_blob"),
        *("register_machine", "report_lost_machine"),
    }
)
_WAITING = frozenset({"poll_calls", "stream_events"})


class Lane(NamedTuple):
    """Requests that are counted together."""

    machine: bool
    waits: bool


def lane_of(request: Request, operation: str) -> Lane:
    """The lane of a request, by its operation, its client, and by whether it asks to be held."""
    profile, query = client_profile(request), request.query_params
    asked = next((query[name] for name in profile.wait_parameters if query.get(name)), "0")
    held = operation in profile.held_operations or operation in _WAITING
    waits = held or asked not in {"0", "0.0"}
    return Lane(operation in _MACHINES, waits)


class Throttle:
    """Counts in this process alone. 0 means no limit."""

    def __init__(self, *, per_second: int, at_once: int) -> None:
        self._per_second = per_second
        self._at_once = at_once
        self._rate = _rate(per_second) if per_second else None
        self._inside: Counter[tuple[str, Lane]] = Counter()

    async def enter(self, cluster_id: str, lane: Lane) -> Callable[[int], None]:
        """Let a request in; call what this returns when it was answered. Raises `ApiError` (429)."""
        side = "machines" if lane.machine else "clients"
        if self._rate is not None and not await self._rate.admits(cluster_id, side):
            raise _too_many(
                f"The {side} of a cluster may send {self._per_second} requests a second to one process"
                " (PERDURE_MAX_REQUESTS_PER_SECOND)."
            )
        place = (cluster_id, lane)
        if self._at_once and self._inside[place] >= self._at_once:
            kind = "waiting requests" if lane.waits else "requests"
            raise _too_many(
                f"The {side} of a cluster may have {self._at_once} {kind} at one process at once"
                " (PERDURE_MAX_CONCURRENT_REQUESTS)."
            )
        self._inside[place] += 1
        return lambda _: self._leave(place)

    def _leave(self, place: tuple[str, Lane]) -> None:
        self._inside[place] -= 1
        if not self._inside[place]:
            del self._inside[place]


def _rate(per_second: int) -> RequestRate:
    from api.auth.request_rate import RequestRate  # noqa: PLC0415 - 16 MB and 0.2 s that few need

    return RequestRate(per_second)


def _too_many(detail: str) -> ApiError:
    return ApiError(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too_many_requests",
        f"{detail} Come back after the seconds in Retry-After.",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )
