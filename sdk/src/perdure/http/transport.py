"""The HTTP client of the SDK: headers, time limits, retries, errors."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address
from typing import TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from perdure.contract import MAX_WAIT_SECONDS, Request
from perdure.errors import (
    ApiError,
    ConnectionFailedError,
    RateLimitedError,
    ServerError,
    api_error,
)
from perdure.http.backoff import Backoff, read_retry_after
from perdure.http.connection import Connection
from perdure.http.json_codec import encode_request

logger = logging.getLogger("perdure")

PATIENCE = 30.0
"""Seconds for which a repeatable request is repeated."""
WAIT_MARGIN = 10.0
"""Read timeout in seconds, beyond the requested wait."""
_CONNECT = 10.0
_KEEP_ALIVE = 4.0  # below the 5 s after which uvicorn closes an idle connection
_INTERNAL = 500
_TRIES_AFTER_500 = 2
_TRANSIENT_STATUSES = frozenset({502, 503, 504})

ReplyT = TypeVar("ReplyT", bound=BaseModel)
QueryValue = str | int | float | list[str] | None


class Transport:
    """A connection pool to one API. Use it from one event loop only; close it with `aclose`.

    Requests that are safe to repeat are repeated for `patience` seconds after a broken connection, 429, 502,
    503 or 504 (a GET also after 500, twice), with growing delays or the delay that the server requests.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.url = connection.url
        self.key_digest = hashlib.sha256(connection.api_key.encode()).hexdigest()
        """A digest that is equal for clients with the same key, and reveals nothing of the key."""
        self._patience = patience
        self._client = httpx2.AsyncClient(
            base_url=connection.url,
            headers={
                "Authorization": f"{connection.scheme} {connection.api_key}",
                "User-Agent": f"perdure-python/{_version()}",
            },
            limits=httpx2.Limits(
                max_connections=None, max_keepalive_connections=100, keepalive_expiry=_KEEP_ALIVE
            ),
            timeout=_timeout(0),
            transport=transport,
            trust_env=not _is_local(connection.url),
        )

    async def aclose(self) -> None:
        """Close the connections. Requests in progress fail."""
        await self._client.aclose()

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, QueryValue] | None = None,
        body: Request | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        wait: float = 0,
        repeatable: bool = True,
        patience: float | None = None,
    ) -> httpx2.Response:
        """Send a request and return its response if it is not an error.

        `wait` is how many seconds the server may hold the request. With `repeatable=False` only a request that
        never reached the server is sent again. Raises `ApiError` and `ConnectionFailedError`.
        """
        request = self._client.build_request(
            method,
            path,
            params={key: value for key, value in (query or {}).items() if value is not None},
            content=encode_request(body) if isinstance(body, Request) else body,
            headers={**(headers or {}), **({"Content-Type": "application/json"} if body else {})},
            timeout=_timeout(wait),
        )
        return await self._send_with_retries(
            request, repeatable, self._patience if patience is None else patience
        )

    @asynccontextmanager
    async def events(
        self, path: str, headers: Mapping[str, str]
    ) -> AsyncGenerator[httpx2.EventSource]:
        """Open a stream of server-sent events, once. Raises as `send` does, also while it is read."""
        request = self._client.build_request(
            "GET",
            path,
            headers={"Accept": "text/event-stream", **headers},
            timeout=_timeout(MAX_WAIT_SECONDS),
        )
        try:
            response = await self._client.send(request, stream=True)
            try:
                if response.is_error:
                    await response.aread()
                    raise _error_of(response)
                yield httpx2.EventSource(response)
            finally:
                await response.aclose()
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error

    async def _send_with_retries(
        self, request: httpx2.Request, repeatable: bool, patience: float
    ) -> httpx2.Response:
        clock = asyncio.get_running_loop().time
        deadline = clock() + patience
        backoff = Backoff(longest=5.0)
        tries = 0
        while True:
            try:
                return await self._send_once(request)
            except (ConnectionFailedError, ApiError) as error:
                tries += 1
                is_internal = _is_internal_error(error, request) and tries <= _TRIES_AFTER_500
                if not (is_internal or _is_transient(error, repeatable)):
                    raise
                retry_after = error.retry_after if isinstance(error, ApiError) else None
                delay = backoff.delay() if retry_after is None else retry_after
                if clock() + delay > deadline:
                    raise
                logger.debug("%s %s is sent again: %s", request.method, request.url.path, error)
            await asyncio.sleep(delay)

    async def _send_once(self, request: httpx2.Request) -> httpx2.Response:
        try:
            response = await self._client.send(request)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        if not response.is_success:
            raise _error_of(response)
        return response

    def _unreachable(self, error: httpx2.TransportError) -> ConnectionFailedError:
        reason = str(error) or type(error).__name__
        return ConnectionFailedError(f"The API at {self.url} does not answer: {reason}.")


def read_reply(reply: type[ReplyT], response: httpx2.Response) -> ReplyT:
    """Parse a response body. Raises `ServerError` if it is not of the documented type."""
    return read_value(reply, read_json(response))


def read_json(response: httpx2.Response) -> object:
    """Parse a response's JSON with Python's parser, which accepts lone surrogates. Raises `ServerError`."""
    try:
        return json.loads(response.content)
    except ValueError as error:
        raise _unexpected(response.status_code, "not JSON") from error


def read_value(reply: type[ReplyT], value: object) -> ReplyT:
    """Parse one object of a response. Raises `ServerError` if it is not of the documented type."""
    try:
        return reply.model_validate(value)
    except ValidationError as error:
        raise _unexpected(200, str(error)) from error


def _unexpected(status: int, why: str) -> ServerError:
    return ServerError(
        status,
        "unexpected_answer",
        f"This is not a response of a Perdure API of this version: {why}",
    )


def _error_of(response: httpx2.Response) -> ApiError:
    retry_after = read_retry_after(response.headers.get("Retry-After"))
    return api_error(response.status_code, response.content, retry_after)


def _is_transient(error: ConnectionFailedError | ApiError, repeatable: bool) -> bool:
    if isinstance(error, ConnectionFailedError):
        never_arrived = isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout)
        hopeless = isinstance(
            error.__cause__, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError
        )
        return never_arrived or (repeatable and not hopeless)
    if isinstance(error, RateLimitedError):
        return True
    return repeatable and error.status in _TRANSIENT_STATUSES


def _is_internal_error(error: ConnectionFailedError | ApiError, request: httpx2.Request) -> bool:
    """A server that is stopping answers pending long polls with 500; a bug answers 500 every time."""
    internal = isinstance(error, ApiError) and error.status == _INTERNAL
    return internal and request.method == "GET"


def _timeout(wait: float) -> httpx2.Timeout:
    return httpx2.Timeout(
        connect=_CONNECT, read=wait + WAIT_MARGIN, write=3 * WAIT_MARGIN, pool=None
    )


def _is_local(url: str) -> bool:
    """A proxy from the environment is not used for this machine."""
    host = httpx2.URL(url).host
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _version() -> str:
    try:
        return version("perdure")
    except PackageNotFoundError:  # running from a source tree that is not installed
        return "0"
