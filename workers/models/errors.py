"""The action after a failed model call, by HTTP status, for real and scripted providers."""

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
    """Retry temporary errors (408, 409, 425, 429, 5xx), pause for billing (402), fail otherwise."""
    if status == HTTPStatus.PAYMENT_REQUIRED:
        return ErrorAction.PAUSE
    if status in _PASSES or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ErrorAction.RETRY
    return ErrorAction.FAIL
