"""Where a page of a list ends, as a word that a client hands back and need not understand."""

from __future__ import annotations

import base64
import binascii
import re
from http import HTTPStatus

from api.errors import ApiError

MAX_CURSOR = 100
"""Characters."""
_NUMBERS = re.compile(r"\d{1,18}(\.\d{1,18})*")


def to_cursor(*position: int) -> str:
    """The numbers as a cursor."""
    return base64.urlsafe_b64encode(".".join(map(str, position)).encode()).decode().rstrip("=")


def from_cursor(cursor: str, parts: int) -> tuple[int, ...]:
    """The numbers of a cursor. Raises `ApiError` (422) for one that this server did not make."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    numbers = text.split(".")
    if not _NUMBERS.fullmatch(text) or len(numbers) != parts:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid_cursor",
            "`cursor` is not one that this list gave. Begin again without one.",
        )
    return tuple(int(number) for number in numbers)
