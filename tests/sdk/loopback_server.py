"""A real HTTP server on a loopback port that can go away and come back on the same port.

It runs in a thread of its own, so that both faces of the SDK can talk to it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Awaitable, Callable

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Answer = Callable[[Request], Awaitable[Response]]


class LoopbackServer:
    """Serves one `Answer` at a time; a request that is being answered keeps the one it came to."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        self._answer: Answer | None = None
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self, answer: Answer) -> None:
        """Answer from now on like this, whether the server is up already or not."""
        self._answer = answer
        if self._server is not None:
            return
        config = uvicorn.Config(
            Starlette(routes=[Route("/{path:path}", self._pass_on, methods=["GET", "POST"])]),
            port=int(self.url.rpartition(":")[2]),
            lifespan="off",
            ws="none",
            log_level="critical",
        )
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        assert self._server.is_up.wait(10)

    def stop(self) -> None:
        """Break off whatever is open and close the port."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._server = self._thread = None

    async def _pass_on(self, request: Request) -> Response:
        assert self._answer is not None
        return await self._answer(request)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # pyright: ignore[reportImplicitOverride]
        await super().startup(sockets)
        self.is_up.set()
