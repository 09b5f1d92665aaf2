"""Maps exceptions of Anthropic's client to `ModelError`."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import anthropic
import httpx2

from orchestrator.llm.messages import ErrorAction, ModelError
from workers.models.errors import action_for_status

_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""Status by error type, for an error inside a stream, which arrives after a 200."""

_MONEY_CODES = frozenset(
    {
        "contract_spend_limit_reached",
        "enforced_spend_limit_reached",
        "linked_organization_billing_unavailable",
        "linked_organization_spend_limit_reached",
    }
)
_MONEY_WORDS = re.compile(r"credit balance|api usage limits|spend(ing)? limit", re.IGNORECASE)
"""Matches billing problems that are reported as a 400 without a code."""

_CURES = {
    401: "check ANTHROPIC_API_KEY",
    403: "the key of ANTHROPIC_API_KEY lacks the permission",
    404: "check the model's name",
    413: "the conversation is too large to send",
}
_WITHOUT_ANSWER: tuple[tuple[tuple[type[Exception], ...], str, ErrorAction], ...] = (
    (
        (httpx2.TimeoutException, anthropic.APITimeoutError),
        "Claude sent nothing for too long, so the call was ended",
        ErrorAction.RETRY,
    ),
    ((anthropic.APIConnectionError,), "Claude could not be reached", ErrorAction.RETRY),
    (
        (httpx2.HTTPError,),
        "The connection to Claude broke in the middle of an answer",
        ErrorAction.RETRY,
    ),
    ((anthropic.AnthropicError,), "Anthropic's client refused to make the call", ErrorAction.FAIL),
)
"""Exceptions without a status, the narrower kinds first."""

_KEY = re.compile(r"\b(sk-[\w-]{4,}|Bearer\s+\S+)")
_MAX_WORDS = 300


def sort_error(error: Exception, *, secret: str = "") -> ModelError:
    """The exception of a model call as a `ModelError` with action, status and the wait the provider asks for.

    `secret` is cut out of whatever the provider said; request bodies are never part of a reason.
    """
    if isinstance(error, anthropic.APIStatusError):
        return _refused(error, secret)
    if _is_bad_address(error):
        reason = "The address of the Anthropic API is not a URL: check ANTHROPIC_BASE_URL"
        return ModelError(reason, action=ErrorAction.FAIL)
    for kinds, reason, action in _WITHOUT_ANSWER:
        if isinstance(error, kinds):
            return ModelError(reason, action=action)
    return ModelError(
        f"Claude's answer could not be read ({type(error).__name__})", action=ErrorAction.RETRY
    )


def _refused(error: anthropic.APIStatusError, secret: str) -> ModelError:
    status = _status(error)
    action = _action(error, status)
    kind = error.type if isinstance(error.type, str) else ""
    message = _message(error, secret)
    cure = _CURES.get(status, "") if action is ErrorAction.FAIL else ""
    if action is ErrorAction.PAUSE:
        cure = "add credit or raise the limit in the Anthropic console, then resume the run"
    reason = f"Claude refused the call ({' '.join(filter(None, (str(status), kind)))})"
    return ModelError(
        reason + (f": {message}" if message else "") + (f" ({cure})" if cure else ""),
        action=action,
        status=status,
        retry_after=_retry_after(error.response.headers) if action is ErrorAction.RETRY else None,
    )


def _status(error: anthropic.APIStatusError) -> int:
    if error.status_code >= HTTPStatus.BAD_REQUEST:
        return error.status_code
    return _STATUS_OF_TYPE.get(str(error.type), HTTPStatus.INTERNAL_SERVER_ERROR.value)


def _action(error: anthropic.APIStatusError, status: int) -> ErrorAction:
    if _is_about_money(error, status):
        return ErrorAction.PAUSE
    advice = error.response.headers.get("x-should-retry")
    if advice == "false" and status == HTTPStatus.CONFLICT:
        return ErrorAction.FAIL
    if advice == "true":
        return ErrorAction.RETRY
    return action_for_status(status)


def _is_about_money(error: anthropic.APIStatusError, status: int) -> bool:
    if str(error.type) == "billing_error" or error.error_code in _MONEY_CODES:
        return True
    text = error.api_message if isinstance(error.api_message, str) else ""
    return status == HTTPStatus.BAD_REQUEST and bool(_MONEY_WORDS.search(text))


def _message(error: anthropic.APIStatusError, secret: str) -> str:
    text = error.api_message if isinstance(error.api_message, str) else ""
    if secret:
        text = text.replace(secret, "…")
    text = " ".join(_KEY.sub("…", text).split()).rstrip(".")
    return text if len(text) <= _MAX_WORDS else text[: _MAX_WORDS - 1] + "…"


def _retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds to wait: `retry-after-ms`, or `retry-after` in seconds or as an HTTP date."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        seconds = _number(headers.get(name))
        if seconds is not None:
            return max(0.0, seconds * scale)
    try:
        moment = parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _is_bad_address(error: Exception) -> bool:
    bad = (httpx2.UnsupportedProtocol, httpx2.InvalidURL)
    return isinstance(error, bad) or isinstance(error.__cause__, bad)
