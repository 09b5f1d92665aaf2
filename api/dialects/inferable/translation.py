"""What the operations of this manner share: read the native answer, say it in other words."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, cast

from fastapi import Response

from api.http.dialect import DialectRequest
from api.http.errors import ApiError

Body = dict[str, Any]
Operation = Callable[[DialectRequest], Awaitable[Response]]
"""Answers a question of one native operation. Raises what the native route raises."""

MAX_LISTED = 5_000
"""Items of a list without pages, messages of a conversation among them."""
_PAGE = 100


def with_body(native: Response, value: object, status: int | None = None) -> Response:
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


def no_content(native: Response, status: int = HTTPStatus.NO_CONTENT) -> Response:
    """The native answer without its body."""
    return Response(status_code=status, background=native.background)


def read_body(native: Response) -> Any:
    """The native answer's body."""
    return json.loads(bytes(native.body))


async def read_object(request: DialectRequest) -> Body | None:
    """The body, where it is an object; anything else is for the native route to refuse."""
    body = await request.body()
    return cast("Body", body) if isinstance(body, dict) else None


async def all_pages(
    request: DialectRequest, query: Mapping[str, object] | None = None
) -> tuple[Response, list[Body]]:
    """The last of the native pages, and what all of them list, `MAX_LISTED` items or a few more."""
    found: list[Body] = []
    page: dict[str, object] = {**(query or {}), "limit": _PAGE}
    while True:
        native = await request.call_native(query=page)
        body = read_body(native)
        found += body["items"]
        if body["nextCursor"] is None or len(found) >= MAX_LISTED:
            return native, found
        page["cursor"] = body["nextCursor"]


async def without_body(request: DialectRequest) -> Response:
    """Do it, and say only that it is done."""
    return no_content(await request.call_native())


def bad_request(code: str, detail: str) -> ApiError:
    """400 in words."""
    return ApiError(HTTPStatus.BAD_REQUEST, code, detail)


def without_nulls(fields: Body) -> Body:
    """Without what is null: their optional fields are left out."""
    return {name: value for name, value in fields.items() if value is not None}
