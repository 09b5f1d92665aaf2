"""The seam for dialects: what another product's wire format provides, and how native code asks the request's dialect.

A dialect is a folder under `api/dialects` that exports one `Dialect`, and one line in `api/app.py`. No native module and
no other dialect imports it: `DialectMiddleware` finds the request's dialect before a route is looked for and writes it
into the request's state, where `dialect_of` reads it. A request that no dialect matches is native.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, cast, get_args, get_origin
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response
from fastapi.datastructures import QueryParams
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import override

from api.http.validation import (
    body_model,
    fields_of,
    models_in,
    query_names,
    refuse_repeated,
    single_names,
)

Handle = Callable[[Request], Coroutine[Any, Any, Response]]
_AS_SENT = object()
_STATE = "dialect"
"""Name of the request's dialect in its state."""
_OWN_ROUTE = "perdure.dialect_route"
"""In the scope of a request that one of the dialect's own routes answers."""


# -- what a dialect provides -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClientProfile:
    """What the server can expect of a client, beyond the format of its messages. Each dialect has one."""

    sends_heartbeats: bool
    """Its machines acknowledge a call and keep it. One that does not is believed until the call's timeout."""
    accepts_409: bool
    """It accepts a 409 for a late result. Other clients take any refusal for a failure and report that."""
    answer_first_poll_at_once: bool
    """It learns from the first answer how soon to ask again, and without one waits long: answer the first at once."""
    batch_seconds: float
    """Seconds to wait for further calls: its machines do not come back before all they took is done."""
    held_operations: frozenset[str] = frozenset()
    """Operations whose requests the dialect holds open even if the client asks for no wait."""
    wait_parameters: tuple[str, ...] = ("wait",)
    """Query parameters by which the client asks for a wait, in seconds."""


NATIVE = ClientProfile(
    sends_heartbeats=True, accepts_409=True, answer_first_poll_at_once=False, batch_seconds=0.0
)


class Credential(NamedTuple):
    """What a request authenticates with."""

    token: str
    custom: bool = False
    """The cluster's own auth function judges the token. Otherwise the token is an API key."""


@dataclass(frozen=True, slots=True)
class DialectRequest:
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

    async def call_native(
        self, *, query: Mapping[str, object] | None = None, body: object = _AS_SENT
    ) -> Response:
        """The native answer to the same question in these words. What the route does not know is left out."""
        pairs = self.query.multi_items() if query is None else query.items()
        known = query_names(self.route)
        query_string = urlencode([(name, value) for name, value in pairs if name in known])
        scope = {**self.request.scope, "query_string": query_string.encode()}
        if self.route.body_field is None:
            return await self.handle(Request(scope, self.request.receive))
        value = await self.body() if body is _AS_SENT else body
        known_fields = _drop_unknown_fields(value, body_model(self.route))
        return await self.handle(_RewrittenRequest(scope, self.request, known_fields))


Matches = Callable[[Headers, str], bool]
"""Whether a request with these headers and this path, as sent, is written in the dialect."""
Authenticate = Callable[[Request], Credential | None]
"""Reads the request's credential. None: the request has none, which is a 401."""
RenderError = Callable[[Request, Exception, Response], Response]
"""Turns an error into the dialect's answer. The response is the native answer to the same error: its status, its headers
and a `Problem` as its body."""
Translate = Callable[[DialectRequest], Coroutine[Any, Any, Response]]
"""Answers a request for a native operation. Raises what the native route raises."""


@dataclass(frozen=True, slots=True, eq=False)
class Dialect:
    """Another product's wire format. Whatever is left out is as in the native API."""

    name: str
    matches: Matches
    routers: Sequence[APIRouter] = ()
    """Routes that only this dialect's requests reach; they go before native routes and are not in the OpenAPI document.

    The id of an operation decides its scopes, its rate limit and its name in the audit log. So a route carries the id of
    the native operation that it performs.
    """
    authenticate: Authenticate | None = None
    render_error: RenderError | None = None
    translate: Translate | None = None
    """For native routes, which serve the dialect too. Own routes are not translated."""
    rewrite: Callable[[Scope], Scope] | None = None
    """Changes the address before a route is looked for. Returns a new scope, or the same one unchanged."""
    profile: ClientProfile = NATIVE

    @property
    def routes(self) -> list[BaseRoute]:
        """The routes of all its routers, in order."""
        return [route for router in self.routers for route in router.routes]


# -- how native code asks for it -------------------------------------------------------------------


def dialect_of(request: Request) -> Dialect | None:
    """The dialect of the request; None for a native one."""
    return _dialect_in(request.scope)


def _dialect_in(scope: Scope) -> Dialect | None:
    found: Dialect | None = scope.get("state", {}).get(_STATE)
    return found


def client_profile(request: Request) -> ClientProfile:
    """What the server can expect of the client that sent the request."""
    dialect = dialect_of(request)
    return NATIVE if dialect is None else dialect.profile


async def _client_profile(request: Request) -> ClientProfile:
    return client_profile(request)


RequestProfile = Annotated[ClientProfile, Depends(_client_profile)]
"""The manner of the request."""


# -- how a request reaches it ----------------------------------------------------------------------


class DialectMiddleware:
    """Middleware: gives every request the first dialect that matches it, and its address in the dialect's rewriting."""

    def __init__(self, app: ASGIApp, *, dialects: Sequence[Dialect]) -> None:
        self._app = app
        self._dialects = tuple(dialects)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http":
            scope = self._assigned(scope)
        await self._app(scope, receive, send)

    def _assigned(self, scope: Scope) -> Scope:
        headers, path = Headers(scope=scope), scope["path"]
        dialect = next((one for one in self._dialects if one.matches(headers, path)), None)
        # The state is shared with the handler of unforeseen errors, which stands outside every middleware.
        scope.setdefault("state", {})[_STATE] = dialect
        return scope if dialect is None or dialect.rewrite is None else dialect.rewrite(scope)


class OwnRoutes(BaseRoute):
    """A dialect's own routes. To any other request they do not exist."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._routes = dialect.routes

    @override
    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if _dialect_in(scope) is not self._dialect:
            return Match.NONE, {}
        found: tuple[Match, Scope] = (Match.NONE, {})
        for route in self._routes:
            match, child = route.matches(scope)
            if match.value > found[0].value:
                found = match, {**child, "route": route, _OWN_ROUTE: True}
        return found

    @override
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        route: BaseRoute = scope["route"]
        await route.handle(scope, receive, send)


class DialectRoute(APIRoute):
    """A native route that serves dialects too: the request's dialect translates the question and the answer."""

    @override
    def get_route_handler(self) -> Handle:
        handle = super().get_route_handler()
        single = single_names(self)

        async def handle_any(request: Request) -> Response:
            dialect = dialect_of(request)
            if dialect is None or dialect.translate is None or _OWN_ROUTE in request.scope:
                refuse_repeated(request.query_params, single)
                return await handle(request)
            return await dialect.translate(DialectRequest(request, self, handle))

        return handle_any


# -- how a dialect asks a native route -------------------------------------------------------------


class _RewrittenRequest(Request):
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


def _drop_unknown_fields(value: object, annotation: object) -> object:
    """The value without fields that no model of the annotation has."""
    fields = fields_of(models_in(annotation))
    if not fields:
        return value
    if isinstance(value, list):
        return [_drop_unknown_fields(item, annotation) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        value_type = _mapping_value_type(annotation)
        if value_type is not None:
            return {name: _drop_unknown_fields(item, value_type) for name, item in items}
        return {
            name: _drop_unknown_fields(item, fields[name]) for name, item in items if name in fields
        }
    return value


def _mapping_value_type(annotation: object) -> object | None:
    """What an annotation allows as values of a mapping with any keys; None where it means no mapping."""
    if get_origin(annotation) is dict:
        return cast("object", get_args(annotation)[1])
    if get_origin(annotation) is list:
        return None
    found = (_mapping_value_type(part) for part in get_args(annotation))
    return next((one for one in found if one is not None), None)
