"""What a failed model call asks for, by HTTP status: one table for real providers and scripted ones."""

from __future__ import annotations

from http import HTTPStatus

from orchestrator.llm.messages import Posture

_PASSES = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.CONFLICT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)


def posture_of(status: int) -> Posture:
    """Retry what passes by itself (408, 409, 425, 429, 5xx), pause for money (402), fail on the rest."""
    if status == HTTPStatus.PAYMENT_REQUIRED:
        return Posture.PAUSE
    if status in _PASSES or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Posture.RETRY
    return Posture.FAIL
