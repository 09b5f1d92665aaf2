"""A request in another manner, which is put to the native route as often and in such words as it takes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args, get_origin
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.datastructures import QueryParams
from fastapi.routing import APIRoute
from typing_extensions import override

from api.validation import body_model, fields_of, models_in, query_names

Handle = Callable[[Request], Coroutine[Any, Any, Response]]
_AS_SENT = object()


@dataclass(frozen=True, slots=True)
class Question:
    """What a client asks of a route. `handle` answers it natively."""

    request: Request
    route: APIRoute
    handle: Handle

    @property
    def query(self) -> QueryParams:
        """The parameters as they were sent."""
        return self.request.query_params

    async def body(self) -> object:
        """The body as it was sent, None without one. Raises `ApiError` for what is not JSON within the limits."""
        return await self.request.json() if await self.request.body() else None

    async def put(
        self, *, query: Mapping[str, object] | None = None, body: object = _AS_SENT
    ) -> Response:
        """The native answer to the same question in these words. What the route does not know is left out."""
        said = self.query.multi_items() if query is None else query.items()
        known = query_names(self.route)
        words = urlencode([(name, value) for name, value in said if name in known])
        scope = {**self.request.scope, "query_string": words.encode()}
        if self.route.body_field is None:
            return await self.handle(Request(scope, self.request.receive))
        value = await self.body() if body is _AS_SENT else body
        understood = _without_unknown(value, body_model(self.route))
        return await self.handle(_Reworded(scope, self.request, understood))


class _Reworded(Request):
    """A request whose body is this value."""

    def __init__(self, scope: Mapping[str, Any], request: Request, value: object) -> None:
        super().__init__(dict(scope), request.receive)
        self._value = value

    @override
    async def body(self) -> bytes:
        return b"" if self._value is None else b"{}"  # whether there is one; the value is in `json`

    @override
    async def json(self) -> Any:
        return self._value


def _without_unknown(value: object, annotation: object) -> object:
    """The value without fields that no model of the annotation has."""
    fields = fields_of(models_in(annotation))
    if not fields:
        return value
    if isinstance(value, list):
        return [_without_unknown(item, annotation) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        kept = _values_in(annotation)
        if kept is not None:
            return {name: _without_unknown(item, kept) for name, item in items}
        return {
            name: _without_unknown(item, fields[name]) for name, item in items if name in fields
        }
    return value


def _values_in(annotation: object) -> object | None:
    """What an annotation allows as values of a mapping with any keys; None where it means no mapping."""
    if get_origin(annotation) is dict:
        return cast("object", get_args(annotation)[1])
    if get_origin(annotation) is list:
        return None
    found = (_values_in(part) for part in get_args(annotation))
    return next((one for one in found if one is not None), None)
