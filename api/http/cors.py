"""CORS: pages of any origin may use runs, pages of the configured origins everything. Never with cookies."""

from __future__ import annotations

import re

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

_RUNS = re.compile(r"^/+clusters/[^/]+/runs(/|$)")
_METHODS = ("GET", "POST", "PUT", "DELETE")
_EXPOSED = ("Retry-After",)
_MAX_AGE = 600
"""Seconds for which a browser caches a preflight response."""


class Cors:
    """Middleware: answers preflight requests, and adds the headers that let a page read the response."""

    def __init__(self, app: ASGIApp, *, origins: str) -> None:
        self._app = app
        self._for_all = _cors(app, ["*"])
        allowed = [origin.strip().rstrip("/") for origin in origins.split(",") if origin.strip()]
        self._for_some = _cors(app, allowed) if allowed else app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle the request by the rules of its path."""
        any_page = scope["type"] == "http" and _RUNS.match(scope["path"])
        await (self._for_all if any_page else self._for_some)(scope, receive, send)


def _cors(app: ASGIApp, origins: list[str]) -> CORSMiddleware:
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=_METHODS,
        allow_headers=["*"],
        expose_headers=_EXPOSED,
        max_age=_MAX_AGE,
    )
