"""What the operations of this manner share: read the native answer, say it in other words."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, cast

from fastapi import Response

from api.http.dialect import Question
from api.http.errors import ApiError

Body = dict[str, Any]
Operation = Callable[[Question], Awaitable[Response]]
"""Answers a question of one native operation. Raises what the native route raises."""

MAX_LISTED = 5_000
"""Items of a list without pages, messages of a conversation among them."""
_PAGE = 100


def reword(native: Response, value: object, status: int | None = None) -> Response:
    """The native answer with another body; what is to be done when it was sent is kept."""
    headers = {
        name: text for name, text in native.headers.items() if not name.startswith("content-")
    }
    return Response(
        json.dumps(value, separators=(",", ":")),
        native.status_code if status is None else status,
        headers,
        "application/json",
        native.background,
    )


def silent(native: Response, status: int = HTTPStatus.NO_CONTENT) -> Response:
    """The native answer without its body."""
    return Response(status_code=status, background=native.background)


def read(native: Response) -> Any:
    """The native answer's body."""
    return json.loads(bytes(native.body))


async def object_of(question: Question) -> Body | None:
    """The body, where it is an object; anything else is for the native route to refuse."""
    body = await question.body()
    return cast("Body", body) if isinstance(body, dict) else None


async def all_pages(
    question: Question, query: Mapping[str, object] | None = None
) -> tuple[Response, list[Body]]:
    """The last of the native pages, and what all of them list, `MAX_LISTED` items or a few more."""
    found: list[Body] = []
    page: dict[str, object] = {**(query or {}), "limit": _PAGE}
    while True:
        native = await question.put(query=page)
        said = read(native)
        found += said["items"]
        if said["nextCursor"] is None or len(found) >= MAX_LISTED:
            return native, found
        page["cursor"] = said["nextCursor"]


async def nothing(question: Question) -> Response:
    """Do it, and say only that it is done."""
    return silent(await question.put())


def bad_request(code: str, detail: str) -> ApiError:
    """400 in words."""
    return ApiError(HTTPStatus.BAD_REQUEST, code, detail)


def given(fields: Body) -> Body:
    """Without what is null: their optional fields are left out."""
    return {name: value for name, value in fields.items() if value is not None}
