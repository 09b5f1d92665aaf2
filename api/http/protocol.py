"""Limits size and duration of request heads, so that slow or endless requests hold no connection or memory.

Uvicorn's protocol on httptools accepts a head of any size and waits for its end without limit. Bodies are limited in
`api/http/json_body.py`; the rest of a body after its response, here.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import ClassVar, cast

from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.http.errors import problem

MAX_HEAD_BYTES = 256 * 1024
"""Bytes of a request's line and headers: the longest query for metadata fits."""
MAX_HEADERS = 200
HEAD_SECONDS = 20.0
"""Seconds for a head, and for the rest of a body after its response."""
_LINGER_SECONDS = 1.0
_MAX_LINGER_SECONDS = 5.0
"""Seconds for which data of a refused client is still read: it would otherwise see a broken connection instead of the response."""

_ErrorResponse = tuple[HTTPStatus, str, str]


class _HeadRefusedError(Exception):
    """Stops the parser."""


class Connection(HttpToolsProtocol):
    """One connection of a client."""

    head_seconds: ClassVar[float] = HEAD_SECONDS
    linger_seconds: ClassVar[float] = _LINGER_SECONDS
    max_linger: ClassVar[float] = _MAX_LINGER_SECONDS

    _timer: asyncio.TimerHandle | None = None
    _in_message = False
    _in_head = False
    _head_bytes = 0
    _unanswered = 0
    """Requests without a complete response."""
    _refused = False
    _error_response: _ErrorResponse | None = None
    _still_sending = False

    # -- callbacks of the event loop ------------------------------------------------------------------

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self._start_timer()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._still_sending = True
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(_too_large(f"{MAX_HEAD_BYTES:,} bytes"))
                return
        super().data_received(data)

    # -- callbacks of the parser ----------------------------------------------------------------------

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_message, self._in_head, self._head_bytes = True, True, 0
        self._start_timer()

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(self.headers) > MAX_HEADERS:
            self._error_response = _too_large(f"{MAX_HEADERS} headers")
            raise _HeadRefusedError

    @override
    def on_headers_complete(self) -> None:
        self._in_head = False
        self._unanswered += 1
        self._cancel_timer()
        super().on_headers_complete()

    @override
    def on_message_complete(self) -> None:
        self._in_message = False
        self._cancel_timer()
        super().on_message_complete()

    @override
    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unanswered -= 1
        if self._in_message and not self.transport.is_closing():
            self._start_timer()

    @override
    def send_400_response(self, msg: str) -> None:
        """Uvicorn calls this whenever the parser fails, also if a callback above made it fail."""
        self._refuse(self._error_response or (HTTPStatus.BAD_REQUEST, "not_http", msg))

    # -- time limits ----------------------------------------------------------------------------------

    def _start_timer(self) -> None:
        self._cancel_timer()
        self._timer = self.loop.call_later(self.head_seconds, self._on_timeout)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self) -> None:
        if self._unanswered:  # an earlier request of the same connection is not answered yet
            self._start_timer()
        elif self._in_head:
            detail = f"The line and the headers of a request must arrive within {self.head_seconds:g} seconds."
            self._refuse((HTTPStatus.REQUEST_TIMEOUT, "too_slow", detail))
        else:
            self.transport.close()

    def _refuse(self, error_response: _ErrorResponse) -> None:
        """Answer a request that does not reach the application, and close the connection."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._cancel_timer()
        status, code, detail = error_response
        answer = problem(status, code, detail, headers={"Connection": "close"})
        head = b"".join(name + b": " + value + b"\r\n" for name, value in answer.raw_headers)
        self.transport.write(STATUS_LINE[status] + head + b"\r\n" + bytes(answer.body))
        latest = self.loop.time() + self.max_linger
        self.loop.call_later(self.linger_seconds, self._close_after_linger, latest)

    def _close_after_linger(self, latest: float) -> None:
        if self._still_sending and self.loop.time() < latest and not self.transport.is_closing():
            self._still_sending = False
            self.loop.call_later(self.linger_seconds, self._close_after_linger, latest)
        else:
            self.transport.close()


def _too_large(limit: str) -> _ErrorResponse:
    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    return status, "too_large", f"The line and the headers of a request may have at most {limit}."
