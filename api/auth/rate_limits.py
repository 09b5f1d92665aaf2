"""Rate limits of a cluster in one process: requests per second, and concurrent requests.

Machines and clients have separate limits, and so have requests that wait (long polls, streams) and requests that
do not. So waiting requests do not block others, and a flood of clients does not starve function workers.
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

_WORKER_OPERATIONS = frozenset(
    {
        *("poll_calls", "keep_call", "post_result", "create_blob"),
        *("register_machine", "report_lost_machine"),
    }
)
_LONG_POLL_OPERATIONS = frozenset({"poll_calls", "stream_events"})


class TrafficClass(NamedTuple):
    """A group of requests with a common limit."""

    is_worker: bool
    waits: bool


def classify(request: Request, operation: str) -> TrafficClass:
    """The lane of a request, by its operation, its client, and whether it waits."""
    profile, query = client_profile(request), request.query_params
    wait = next((query[name] for name in profile.wait_parameters if query.get(name)), "0")
    held_by_dialect = operation in profile.held_operations or operation in _LONG_POLL_OPERATIONS
    waits = held_by_dialect or wait not in {"0", "0.0"}
    return TrafficClass(operation in _WORKER_OPERATIONS, waits)


class RateLimiter:
    """Counts in this process alone. 0 means no limit."""

    def __init__(self, *, per_second: int, max_concurrent: int) -> None:
        self._per_second = per_second
        self._max_concurrent = max_concurrent
        self._rate = _rate(per_second) if per_second else None
        self._in_flight: Counter[tuple[str, TrafficClass]] = Counter()

    async def acquire(self, cluster_id: str, traffic_class: TrafficClass) -> Callable[[int], None]:
        """Admit a request; call the returned function after its response. Raises `ApiError` (429)."""
        side = "machines" if traffic_class.is_worker else "clients"
        if self._rate is not None and not await self._rate.try_acquire(cluster_id, side):
            raise _too_many(
                f"The {side} of a cluster may send {self._per_second} requests a second to one process"
                " (PERDURE_MAX_REQUESTS_PER_SECOND)."
            )
        slot = (cluster_id, traffic_class)
        if self._max_concurrent and self._in_flight[slot] >= self._max_concurrent:
            kind = "waiting requests" if traffic_class.waits else "requests"
            raise _too_many(
                f"The {side} of a cluster may have {self._max_concurrent} {kind} at one process at once"
                " (PERDURE_MAX_CONCURRENT_REQUESTS)."
            )
        self._in_flight[slot] += 1
        return lambda _: self._release(slot)

    def _release(self, slot: tuple[str, TrafficClass]) -> None:
        self._in_flight[slot] -= 1
        if not self._in_flight[slot]:
            del self._in_flight[slot]


def _rate(per_second: int) -> RequestRate:
    from api.auth.request_rate import RequestRate  # noqa: PLC0415 - 16 MB and 0.2 s that few need

    return RequestRate(per_second)


def _too_many(detail: str) -> ApiError:
    return ApiError(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too_many_requests",
        f"{detail} Retry after the seconds in Retry-After.",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )
