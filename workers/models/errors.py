"""What a failed model call asks for, by HTTP status: one table for real providers and scripted ones."""

from __future__ import annotations

from http import HTTPStatus

from orchestrator.llm.messages import ErrorAction

_PASSES = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.CONFLICT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)


def action_for_status(status: int) -> ErrorAction:
    """Retry what passes by itself (408, 409, 425, 429, 5xx), pause for money (402), fail on the rest."""
    if status == HTTPStatus.PAYMENT_REQUIRED:
        return ErrorAction.PAUSE
    if status in _PASSES or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ErrorAction.RETRY
    return ErrorAction.FAIL
