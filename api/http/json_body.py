"""Request bodies: limited in size while they arrive, strict JSON, and only values that databases can store.

FastAPI would read a body of any size and accept `NaN`. `JsonRoute` reads it here instead, before FastAPI
validates the fields.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
from collections.abc import Callable, Coroutine, Iterator
from http import HTTPStatus
from typing import Any, ClassVar, NoReturn, cast
from weakref import WeakKeyDictionary

from fastapi import Request, Response
from pydantic import TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Message
from typing_extensions import override

from api.http.dialect import DialectRoute
from api.http.errors import ApiError
from api.http.validation import body_model
from orchestrator.schema import to_pointer
from orchestrator.store.database.json_columns import MAX_DEPTH, is_too_deep
from perdure.contract import MAX_REQUEST_BYTES

_DRAIN_SECONDS = 5.0
_DRAIN_BYTES = 128 * 1024 * 1024
"""Bytes of an oversized body that are read and discarded: a client that is still sending would
otherwise see a broken connection instead of the response."""
MAX_VALUES = 500_000
"""JSON values of a body, not counting names. A megabyte of brackets would be a million objects, and a second of work."""
MAX_MISTAKES = 5_000
"""Validation errors that are listed. Each costs microseconds, and a body can have hundreds of thousands."""
LARGE_BYTES = 256 * 1024
"""Bytes beyond which bodies are parsed one at a time, because parsing blocks the process noticeably."""
BODY_SECONDS = 20.0
BODY_BYTES_PER_SECOND = 8 * 1024
"""Seconds that a body may take; longer only at this rate, so that a slow client cannot hold a request open."""

_SUSPICIOUS = re.compile(rb"\\u0000|\\u[dD][89a-fA-F]|[eE]\+?\d{3}|\d{300}")
"""Matches what can be a NUL, a lone surrogate or an infinite number; other bodies need no check of their values."""

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")
_JSON_SUFFIX = re.compile(r"application/[\w.-]+\+json")

Path = tuple[str | int, ...]
_large_body_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


class JsonRoute(DialectRoute):
    """A route whose body, if it takes one, is JSON of at most `max_bytes`."""

    max_bytes: ClassVar[int] = MAX_REQUEST_BYTES
    body_seconds: ClassVar[float] = BODY_SECONDS
    any_text: ClassVar[bool] = False
    """Whether NUL and lone surrogates are accepted, as in a function's output."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle
        model = body_model(self)

        async def handle_json(request: Request) -> Response:
            body = _JsonRequest(
                request,
                self.max_bytes,
                seconds=self.body_seconds,
                any_text=self.any_text,
                model=model,
            )
            return await handle(body)

        return handle_json


class _JsonRequest(Request):
    """A request whose `body` and `json` raise `ApiError` for anything but a JSON body within the limits."""

    def __init__(
        self, request: Request, max_bytes: int, *, seconds: float, any_text: bool, model: object
    ) -> None:
        super().__init__(request.scope, request.receive)
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._any_text = any_text
        self._model = model

    @override
    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            self._check_headers()
            self._body = await self._read()
        return self._body

    async def _read(self) -> bytes:
        if int(self.headers.get("content-length", "0")) > self._max_bytes:
            await self._refuse_size()
        chunks: list[bytes] = []
        size, more = 0, True
        begun = asyncio.get_running_loop().time()
        while more:
            message = await self._message_by(begun + self._seconds + size / BODY_BYTES_PER_SECOND)
            more = message.get("more_body", False)
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self._max_bytes:
                await self._refuse_size(more=more)
        return b"".join(chunks)

    async def _message_by(self, deadline: float) -> Message:
        try:
            async with asyncio.timeout_at(deadline):
                return await self._next_message()
        except TimeoutError:
            raise ApiError(
                HTTPStatus.REQUEST_TIMEOUT,
                "too_slow",
                f"The body did not arrive in time: it may take {self._seconds:g} seconds,"
                f" and longer at {BODY_BYTES_PER_SECOND:,} bytes per second.",
                headers={"Connection": "close"},
            ) from None

    async def _next_message(self) -> Message:
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        return message

    @override
    async def json(self) -> Any:
        body = await self.body()
        if len(body) <= LARGE_BYTES:
            return self._read_value(body)
        return await _read_alone(lambda: self._read_value(body))

    def _read_value(self, body: bytes) -> object:
        value = parse_json(body, any_text=self._any_text)
        if _punctuation(body) > MAX_MISTAKES:
            _refuse_many_mistakes(value, self._model)
        return value

    def _check_headers(self) -> None:
        encoding = self.headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            raise _unsupported(
                f"Send the body without encoding; Content-Encoding {encoding[:100]!r} is not supported."
            )
        kind = self.headers.get("content-type", "").split(";")[0].strip().lower()
        is_json = kind == "application/json" or _JSON_SUFFIX.fullmatch(kind)
        if not is_json and self._has_body():
            raise _unsupported("Send the body as JSON, with Content-Type: application/json.")

    def _has_body(self) -> bool:
        length = self.headers.get("content-length", "0")
        return length != "0" or "transfer-encoding" in self.headers

    async def _refuse_size(self, *, more: bool = True) -> NoReturn:
        if more:
            with contextlib.suppress(TimeoutError, ClientDisconnect):
                async with asyncio.timeout(_DRAIN_SECONDS):
                    await self._drain()
        raise ApiError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "too_large",
            f"The body of this request may have at most {self._max_bytes:,} bytes.",
            headers={"Connection": "close"},
        )

    async def _drain(self) -> None:
        drained = 0
        while drained < _DRAIN_BYTES:
            message = await self._next_message()
            drained += len(message.get("body", b""))
            if not message.get("more_body", False):
                return


async def _read_alone(read: Callable[[], object]) -> object:
    """Parse a large body when no other is being parsed, then yield to other tasks for as long as it took."""
    loop = asyncio.get_running_loop()
    lock = _large_body_locks.setdefault(loop, asyncio.Lock())
    await lock.acquire()
    begun = loop.time()
    try:
        return read()
    finally:
        loop.call_later(loop.time() - begun, lock.release)


def parse_json(body: bytes, *, any_text: bool = False) -> object:
    """Parse a JSON text. Raises `ApiError`: 400 for invalid JSON, 422 for JSON that is not accepted.

    Invalid: other encodings than UTF-8, NaN and Infinity. Not accepted: more than `MAX_DEPTH` levels or `MAX_VALUES`
    values, numbers beyond a double's range, and (unless `any_text`) NUL and lone surrogates.
    """
    if _has_too_many_values(body):
        raise _not_taken(f"The body may hold at most {MAX_VALUES:,} values.", ())
    try:
        value: object = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise _not_json(
            f"{error.msg.removesuffix(' at')} at line {error.lineno}, column {error.colno}"
        ) from None
    except UnicodeDecodeError as error:
        raise _not_json(f"byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise _not_json(str(error)) from None
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and is_too_deep(value):
        raise _too_deep()
    if _SUSPICIOUS.search(body):
        _check_scalars(value, any_text=any_text)
    return value


def _has_too_many_values(body: bytes) -> bool:
    """Estimate the number of values by punctuation, before parsing. Punctuation inside strings does not count."""
    if _punctuation(body) <= MAX_VALUES:
        return False
    return _punctuation(_STRING.sub(b"", body)) > MAX_VALUES


def _punctuation(body: bytes) -> int:
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def _refuse_many_mistakes(value: object, model: object) -> None:
    """Raise `ApiError` (422) for a value with more errors than one response can list: FastAPI would list them all."""
    try:
        TypeAdapter[object](cast("type[object]", model)).validate_python(value)
    except ValidationError as error:
        if error.error_count() > MAX_MISTAKES:
            raise _not_taken(
                f"The body has more than {MAX_MISTAKES:,} errors: is it meant for another operation?",
                (),
            ) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _check_scalars(value: object, *, any_text: bool) -> None:
    for path, scalar in _scalars(value, ()):
        if isinstance(scalar, float) and not math.isfinite(scalar):
            raise _not_taken("The number is larger than a double can hold.", path)
        if isinstance(scalar, str) and not any_text:
            _check_text(scalar, path)


def _check_text(text: str, path: Path) -> None:
    if "\0" in text:
        raise _not_taken("NUL characters are not accepted.", path)
    if _SURROGATE.search(text):
        raise _not_taken("The text has half a surrogate pair; it is not Unicode.", path)


def _scalars(value: object, path: Path) -> Iterator[tuple[Path, object]]:
    """Every string and number with its location, names of members included, at most `MAX_DEPTH` deep."""
    if isinstance(value, dict):
        for name, child in cast("dict[str, object]", value).items():
            yield path, name
            yield from _scalars(child, (*path, name))
    elif isinstance(value, list):
        for index, child in enumerate(cast("list[object]", value)):
            yield from _scalars(child, (*path, index))
    else:
        yield path, value


def _not_json(why: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, "not_json", f"The body is not JSON: {why}.")


def _too_deep() -> ApiError:
    return _not_taken(f"The body may be nested at most {MAX_DEPTH} levels deep.", ())


def _not_taken(detail: str, path: Path) -> ApiError:
    return ApiError(
        HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", detail, pointer=to_pointer(path)
    )


def _unsupported(detail: str) -> ApiError:
    return ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
