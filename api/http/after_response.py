"""Callbacks that run after a request's complete response, streams included."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CLIENT_CLOSED_REQUEST = 499
"""Status of a request whose client disconnected before the response."""


class ResponseHooks:
    """The end of one request."""

    def __init__(self) -> None:
        self._status = CLIENT_CLOSED_REQUEST
        self._callbacks: list[Callable[[int], None]] = []

    def on_complete(self, callback: Callable[[int], None]) -> None:
        """Call the function with the response's status after it was sent."""
        self._callbacks.append(callback)

    def observe(self, message: Message) -> None:
        """A part of the answer."""
        if message["type"] == "http.response.start":
            self._status = message["status"]

    def failed(self) -> None:
        """Record that the application failed; the server answers 500."""
        if self._status == CLIENT_CLOSED_REQUEST:
            self._status = HTTPStatus.INTERNAL_SERVER_ERROR

    def close(self) -> None:
        """Run the callbacks."""
        for callback in self._callbacks:
            callback(self._status)


def response_hooks(request: Request) -> ResponseHooks:
    """The end of this request."""
    hooks: ResponseHooks = request.state.response_hooks
    return hooks


class ResponseHooksMiddleware:
    """Middleware: gives every request its `ResponseHooks`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, then run its callbacks."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        hooks = scope.setdefault("state", {})["response_hooks"] = ResponseHooks()

        async def send_observed(message: Message) -> None:
            hooks.observe(message)
            await send(message)

        try:
            await self._app(scope, receive, send_observed)
        except Exception:
            hooks.failed()
            raise
        finally:
            hooks.close()
