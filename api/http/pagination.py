"""Where a page of a list ends, as a word that a client hands back and need not understand."""

from __future__ import annotations

import base64
import binascii
import json
import re
from http import HTTPStatus
from typing import Any, cast

from api.http.errors import ApiError

MAX_CURSOR = 100
"""Characters."""
MAX_TEXT_CURSOR = 800
"""The same for one that holds ids, the longest of a machine: 256 characters that JSON may have to escape."""
MAX_VERSION = 2**31 - 1
"""Of a run's events or transitions, or of a text; PostgreSQL takes no larger number where one is meant."""
_NUMBERS = re.compile(r"\d{1,18}(\.\d{1,18})*")


def to_cursor(*position: int) -> str:
    """The numbers as a cursor."""
    return base64.urlsafe_b64encode(".".join(map(str, position)).encode()).decode().rstrip("=")


def to_text_cursor(*position: int | str) -> str:
    """Numbers and ids as a cursor; longer than one of numbers."""
    text = json.dumps(position, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def from_text_cursor(cursor: str, *kinds: type[int | str]) -> tuple[Any, ...]:
    """The numbers and ids of a cursor, of these kinds. Raises `ApiError` (422) as `from_cursor` does."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        read: object = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except ValueError:
        raise _unknown_cursor() from None
    values: list[object] = cast("list[object]", read) if isinstance(read, list) else []
    if [type(value) for value in values] != list(kinds) or not all(map(_is_plain, values)):
        raise _unknown_cursor()
    return tuple(values)


def _is_plain(value: object) -> bool:
    """A number or a word that every database takes."""
    if isinstance(value, int):
        return 0 <= value < 10**18
    return isinstance(value, str) and value.isascii() and value.isprintable()


def from_cursor(cursor: str, parts: int) -> tuple[int, ...]:
    """The numbers of a cursor. Raises `ApiError` (422) for one that this server did not make."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    numbers = text.split(".")
    if not _NUMBERS.fullmatch(text) or len(numbers) != parts:
        raise _unknown_cursor()
    return tuple(int(number) for number in numbers)


def _unknown_cursor() -> ApiError:
    return ApiError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid_cursor",
        "`cursor` is not one that this list gave. Begin again without one.",
    )
