"""Pages of lists: query parameters, and the cursor of the next page.

A list reads `PageQuery.fetch` rows, one more than the page holds; `page_of` makes the page and its cursor of them.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Annotated, Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field

from api.http.errors import ApiError

MAX_CURSOR = 100
"""Characters."""
MAX_TEXT_CURSOR = 800
"""Characters of a cursor that holds ids; the longest, a machine's, has 256 characters that JSON may have to escape."""
MAX_VERSION = 2**31 - 1
"""The largest number that PostgreSQL accepts, for numbers of events and transitions and for positions in texts."""
_NUMBERS = re.compile(r"\d{1,18}(\.\d{1,18})*")

T = TypeVar("T")


class PageQuery(BaseModel):
    """Query parameters of a list's page. Lists with more parameters inherit from it."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=100)] = 50
    cursor: Annotated[
        str | None, Field(max_length=MAX_CURSOR, description="`nextCursor` of the page before.")
    ] = None

    @property
    def fetch(self) -> int:
        """Rows to read: one more than the page holds tells whether there is another page."""
        return self.limit + 1

    def number(self) -> int | None:
        """The position of a list that pages on one number. Raises `ApiError` (422) for an invalid cursor."""
        return None if self.cursor is None else from_cursor(self.cursor, parts=1)[0]


class TextPageQuery(PageQuery):
    """Query parameters of a list whose position holds an id."""

    cursor: Annotated[
        str | None,
        Field(max_length=MAX_TEXT_CURSOR, description="`nextCursor` of the page before."),
    ] = None

    def text(self) -> str:
        """The position of a list that pages on one id; empty at the beginning. Raises `ApiError` as `number` does."""
        return "" if self.cursor is None else from_text_cursor(self.cursor, str)[0]


def page_of(
    found: Sequence[T], query: PageQuery, cursor_of: Callable[[T], str]
) -> tuple[Sequence[T], str | None]:
    """The page of the found rows, and the cursor after its last row; None for the last page."""
    page = found[: query.limit]
    return page, cursor_of(page[-1]) if len(found) > query.limit else None


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
    """A number or text that every database accepts."""
    if isinstance(value, int):
        return 0 <= value < 10**18
    return isinstance(value, str) and value.isascii() and value.isprintable()


def from_cursor(cursor: str, parts: int) -> tuple[int, ...]:
    """The numbers of a cursor. Raises `ApiError` (422) for one that this server did not create."""
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
        "`cursor` is not from this list. Start again without a cursor.",
    )
