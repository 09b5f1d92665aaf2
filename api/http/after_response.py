"""What is to be done when a request was answered in full, stream included: count it, let the next one in."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NOBODY_WAITED = 499
"""Status of a request whose client left before it was answered."""


class Ending:
    """The end of one request."""

    def __init__(self) -> None:
        self._status = NOBODY_WAITED
        self._then: list[Callable[[int], None]] = []

    def then(self, act: Callable[[int], None]) -> None:
        """Call this with the answer's status when it was sent."""
        self._then.append(act)

    def heard(self, message: Message) -> None:
        """A part of the answer."""
        if message["type"] == "http.response.start":
            self._status = message["status"]

    def failed(self) -> None:
        """The application broke; the server answers in its place."""
        if self._status == NOBODY_WAITED:
            self._status = HTTPStatus.INTERNAL_SERVER_ERROR

    def close(self) -> None:
        """Do what was to be done."""
        for act in self._then:
            act(self._status)


def ending_of(request: Request) -> Ending:
    """The end of this request."""
    ending: Ending = request.state.ending
    return ending


class Endings:
    """Middleware: gives every request its end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, then do what was asked for."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        ending = scope.setdefault("state", {})["ending"] = Ending()

        async def send_heard(message: Message) -> None:
            ending.heard(message)
            await send(message)

        try:
            await self._app(scope, receive, send_heard)
        except Exception:
            ending.failed()
            raise
        finally:
            ending.close()
