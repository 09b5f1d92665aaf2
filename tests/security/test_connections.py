"""Who is slow, or sends a head without an end, is refused with the limit and let go; everybody else is served meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import uvicorn
from fastapi import APIRouter, FastAPI

from api.http.errors import install_error_handlers
from api.http.json_body import JsonRoute
from api.http.protocol import MAX_HEAD_BYTES, MAX_HEADERS, Connection

GET, POST = b"GET /said HTTP/1.1\r\nHost: x\r\n", b"POST /taken HTTP/1.1\r\nHost: x\r\n"
JSON = b"Content-Type: application/json\r\n"


class Hasty(Connection):
    head_seconds = 0.3
    linger_seconds, max_linger = 0.1, 0.5


class HastyRoute(JsonRoute):
    body_seconds = 0.3


def make_app() -> FastAPI:
    app = FastAPI()
    install_error_handlers(app)
    router = APIRouter(route_class=HastyRoute)

    async def take(body: dict[str, Any]) -> int:
        return len(body)

    async def say() -> str:
        return "here"

    async def think() -> str:
        await asyncio.sleep(0.6)
        return "done"

    router.post("/taken")(take)
    router.get("/said")(say)
    router.get("/thought")(think)
    app.include_router(router)
    return app


@pytest.fixture
async def port() -> AsyncGenerator[int]:
    config = uvicorn.Config(make_app(), port=0, http=Hasty, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn offers no event
        await asyncio.sleep(0.005)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = server.force_exit = True
    await task


async def exchanged(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """Send the parts, and read until the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    reading = asyncio.create_task(_all_of(reader))
    try:
        with contextlib.suppress(ConnectionError):  # it may hang up before all is said
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
        async with asyncio.timeout(20):
            return await reading
    finally:
        writer.close()


async def _all_of(reader: asyncio.StreamReader) -> bytes:
    """Everything until the end, however the connection ends."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(65_536):
            got += piece
    return got


async def refused(port: int, *parts: bytes, pause: float = 0.0) -> tuple[int, str, str]:
    """Status, code and words of the problem that is the answer."""
    head, _, body = (await exchanged(port, *parts, pause=pause)).partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    said = json.loads(body)
    return int(head.split()[1]), said["code"], said["detail"]


async def test_a_head_that_drips_is_answered_with_the_limit(port: int) -> None:
    status, code, detail = await refused(port, GET + b"X: ", b"a", b"b", b"c", pause=0.12)
    assert (status, code) == (408, "too_slow")
    assert "0.3 seconds" in detail


async def test_a_body_that_drips_is_answered_with_the_limit(port: int) -> None:
    head = POST + JSON + b"Content-Length: 1000\r\n\r\n"
    status, code, detail = await refused(port, head, b"{", b" ", b" ", pause=0.12)
    assert (status, code) == (408, "too_slow")
    assert "0.3 seconds" in detail
    assert "8,192 bytes per second" in detail


async def test_a_chunked_body_that_never_ends_is_answered(port: int) -> None:
    head = POST + JSON + b"Transfer-Encoding: chunked\r\n\r\n"
    status, code, _ = await refused(port, head, b"1\r\n{\r\n")
    assert (status, code) == (408, "too_slow")


async def test_who_connects_and_says_nothing_is_let_go(port: int) -> None:
    assert await exchanged(port) == b""


async def test_who_drips_on_after_the_answer_is_let_go(port: int) -> None:
    head = GET + b"Content-Length: 9\r\n\r\n"
    answer = await exchanged(port, head, b"1", b"2", b"3", b"4", pause=0.12)
    assert answer.count(b"HTTP/1.1 200") == 1


async def test_a_head_without_an_end_is_refused_with_the_limit(port: int) -> None:
    much = b"a" * 65_536
    status, code, detail = await refused(port, GET + b"X: ", *[much] * 8)
    assert (status, code) == (431, "too_large")
    assert f"{MAX_HEAD_BYTES:,} bytes" in detail


async def test_too_many_headers_are_refused_with_the_limit(port: int) -> None:
    headers = b"".join(b"X-%d: 1\r\n" % number for number in range(MAX_HEADERS))
    status, code, detail = await refused(port, GET + headers + b"\r\n")
    assert (status, code) == (431, "too_large")
    assert f"{MAX_HEADERS} headers" in detail


async def test_what_is_not_http_is_a_problem_too(port: int) -> None:
    assert (await refused(port, b"\x16\x03\x01 hello\r\n\r\n"))[:2] == (400, "not_http")


async def test_a_slow_answer_is_waited_for_and_the_connection_used_again(port: int) -> None:
    first = b"GET /thought HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = await exchanged(port, first, GET + b"Connection: close\r\n\r\n", pause=0.7)
    assert answer.count(b"HTTP/1.1 200") == 2


async def test_the_slow_do_not_hold_up_the_others(port: int) -> None:
    drips = [
        asyncio.create_task(exchanged(port, GET, *[b"X: 1\r\n"] * 4, pause=0.1)) for _ in range(50)
    ]
    answers = [await exchanged(port, GET + b"Connection: close\r\n\r\n") for _ in range(20)]
    assert all(b"200 OK" in answer for answer in answers)
    assert all(b" 408 " in answer for answer in await asyncio.gather(*drips))


async def test_a_body_may_take_longer_while_it_comes(port: int) -> None:
    """Three times the patience, at more than the pace."""
    text = b'{"a": "' + b"x" * 30_000 + b'"}'
    head = POST + JSON + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(text)
    pieces = [text[start : start + 4_000] for start in range(0, len(text), 4_000)]
    answer = await exchanged(port, head, *pieces, pause=0.1)
    assert b"HTTP/1.1 200" in answer


async def test_who_is_refused_and_sends_on_is_listened_to_for_a_while(port: int) -> None:
    """Longer than a moment, or they would not hear why; and not for ever."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    answer = await exchanged(port, GET + b"X: ", b"a" * 300_000, *[b"a"] * 200, pause=0.02)
    assert b" 431 " in answer
    assert 0.4 < loop.time() - begun < 3.5
