"""Helpers of the operations of this dialect: read native responses and replace their bodies."""

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
"""Answers a request for one native operation. Raises what the native route raises."""

MAX_LISTED = 5_000
"""Maximum items of a list without pages, including the messages of a conversation."""
_PAGE = 100


def with_body(native: Response, value: object, status: int | None = None) -> Response:
    """The native response with another body; its background tasks are kept."""
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
    """The native response without its body."""
    return Response(status_code=status, background=native.background)


def read_body(native: Response) -> Any:
    """The native response's body."""
    return json.loads(bytes(native.body))


async def read_object(request: DialectRequest) -> Body | None:
    """The body if it is an object; the native route refuses anything else."""
    body = await request.body()
    return cast("Body", body) if isinstance(body, dict) else None


async def all_pages(
    request: DialectRequest, query: Mapping[str, object] | None = None
) -> tuple[Response, list[Body]]:
    """The last native page, and the items of all pages, about `MAX_LISTED` at most."""
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
    """Call the native route, and answer without a body."""
    return no_content(await request.call_native())


def bad_request(code: str, detail: str) -> ApiError:
    """A 400 with this text."""
    return ApiError(HTTPStatus.BAD_REQUEST, code, detail)


def without_nulls(fields: Body) -> Body:
    """Without null fields: Inferable omits optional fields."""
    return {name: value for name, value in fields.items() if value is not None}
