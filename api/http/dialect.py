"""The interface of dialects: what another product's wire format provides, and how native code finds a request's dialect.

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
"""Key in the scope of a request that one of the dialect's own routes answers."""


# -- what a dialect provides -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClientProfile:
    """A client's behavior, beyond the format of its messages. Each dialect has one profile."""

    sends_heartbeats: bool
    """Its machines acknowledge calls and send heartbeats. Otherwise a machine counts as alive until the call's timeout."""
    accepts_409: bool
    """It accepts a 409 for a late result. Other clients treat any refusal as a failure of the function and report that."""
    answer_first_poll_at_once: bool
    """It learns the polling interval from the first response, and waits long without one: answer the first poll at once."""
    batch_seconds: float
    """Seconds to wait for further calls: its machines do not poll again before all their calls are done."""
    held_operations: frozenset[str] = frozenset()
    """Operations whose requests the dialect holds open without a wait parameter."""
    wait_parameters: tuple[str, ...] = ("wait",)
    """Query parameters for a wait, in seconds."""


NATIVE = ClientProfile(
    sends_heartbeats=True, accepts_409=True, answer_first_poll_at_once=False, batch_seconds=0.0
)


class Credential(NamedTuple):
    """A request's credential."""

    token: str
    custom: bool = False
    """Whether the cluster's auth function verifies the token. Otherwise the token is an API key."""


@dataclass(frozen=True, slots=True)
class DialectRequest:
    """A client's request for a native operation. `handle` answers it natively."""

    request: Request
    route: APIRoute
    handle: Handle

    @property
    def query(self) -> QueryParams:
        """The parameters as they were sent."""
        return self.request.query_params

    async def body(self) -> object:
        """The body as it was sent, None without one. Raises `ApiError` unless it is JSON within the limits."""
        return await self.request.json() if await self.request.body() else None

    async def call_native(
        self, *, query: Mapping[str, object] | None = None, body: object = _AS_SENT
    ) -> Response:
        """The native response to this request. Fields and parameters that the route does not know are dropped."""
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
"""Whether a request with these headers and this path, as sent, belongs to the dialect."""
Authenticate = Callable[[Request], Credential | None]
"""Reads the request's credential. None: the request has none, which is a 401."""
RenderError = Callable[[Request, Exception, Response], Response]
"""Renders an error in the dialect. The argument is the native response to the same error: its status, its headers
and a `Problem` as its body."""
Translate = Callable[[DialectRequest], Coroutine[Any, Any, Response]]
"""Answers a request for a native operation. Raises what the native route raises."""


@dataclass(frozen=True, slots=True, eq=False)
class Dialect:
    """Another product's wire format. Defaults are those of the native API."""

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
    """Rewrites the path before a route is matched. Returns a new scope, or the same one unchanged."""
    profile: ClientProfile = NATIVE

    @property
    def routes(self) -> list[BaseRoute]:
        """The routes of all its routers, in order."""
        return [route for router in self.routers for route in router.routes]


# -- how native code asks for it -------------------------------------------------------------------


def dialect_of(request: Request) -> Dialect | None:
    """The request's dialect; None for a native request."""
    return _dialect_in(request.scope)


def _dialect_in(scope: Scope) -> Dialect | None:
    found: Dialect | None = scope.get("state", {}).get(_STATE)
    return found


def client_profile(request: Request) -> ClientProfile:
    """The profile of the client that sent the request."""
    dialect = dialect_of(request)
    return NATIVE if dialect is None else dialect.profile


async def _client_profile(request: Request) -> ClientProfile:
    return client_profile(request)


RequestProfile = Annotated[ClientProfile, Depends(_client_profile)]
"""The request's dialect."""


# -- how a request reaches it ----------------------------------------------------------------------


class DialectMiddleware:
    """Middleware: finds the first dialect that matches a request, and lets it rewrite the path."""

    def __init__(self, app: ASGIApp, *, dialects: Sequence[Dialect]) -> None:
        self._app = app
        self._dialects = tuple(dialects)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle the request."""
        if scope["type"] == "http":
            scope = self._assigned(scope)
        await self._app(scope, receive, send)

    def _assigned(self, scope: Scope) -> Scope:
        headers, path = Headers(scope=scope), scope["path"]
        dialect = next((one for one in self._dialects if one.matches(headers, path)), None)
        # The state is shared with the handler of unexpected errors, which runs outside all middleware.
        scope.setdefault("state", {})[_STATE] = dialect
        return scope if dialect is None or dialect.rewrite is None else dialect.rewrite(scope)


class OwnRoutes(BaseRoute):
    """A dialect's own routes, which match only its requests."""

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
    """A native route that serves dialects too: the request's dialect translates request and response."""

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
    """The value without fields that are unknown to every model of the annotation."""
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
    """The annotation of the values of a mapping with arbitrary keys; None if the annotation is not a mapping."""
    if get_origin(annotation) is dict:
        return cast("object", get_args(annotation)[1])
    if get_origin(annotation) is list:
        return None
    found = (_mapping_value_type(part) for part in get_args(annotation))
    return next((one for one in found if one is not None), None)
