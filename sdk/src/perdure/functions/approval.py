"""Approval requests of functions."""

from __future__ import annotations

from datetime import timedelta

from perdure.contract import MAX_APPROVAL_SECONDS, MAX_DESCRIPTION, ApprovalRequest


def approval_request(
    message: str | None = None, *, expires: timedelta | None = None
) -> ApprovalRequest:
    """Request an approval: return this from a function instead of a result.

    The run pauses. After an approval, the function is called again with the same call id and
    `Context.approved`; after a denial, or without a decision within `expires` (default 7 days, at most 90), it is
    not. `message` (at most 4,096 characters) is shown to the person. Raises ValueError for a value over its limit.
    """
    if message is not None and len(message) > MAX_DESCRIPTION:
        raise ValueError(f"message has {len(message)} characters; at most {MAX_DESCRIPTION}.")
    return ApprovalRequest(message=message, expires_seconds=approval_seconds("expires", expires))


def approval_seconds(name: str, expires: timedelta | None) -> float | None:
    """Seconds until an approval request expires. Raises ValueError that names the argument."""
    if expires is None:
        return None
    seconds = expires.total_seconds()
    if not 0 < seconds <= MAX_APPROVAL_SECONDS:
        days = MAX_APPROVAL_SECONDS // 86_400
        raise ValueError(f"{name} is {expires}; it must be positive, and {days} days at most.")
    return seconds
