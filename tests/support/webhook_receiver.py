"""A receiver of webhooks: a real server on loopback that answers by script and keeps what it was sent."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook

NO_RESPONSE = b""
"""Instead of an answer: take the request and say nothing."""


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """One request as it came in."""

    line: str
    headers: dict[str, str]
    body: str

    def verified(self, secret: str) -> Any:
        """The payload. Raises `WebhookVerificationError` where the signature is not of this secret."""
        return Webhook(secret).verify(self.body, self.headers)


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole HTTP answer; underscores in header names stand for hyphens."""
    lines = [f"HTTP/1.1 {status} Answer", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(slots=True)
class Receiver:
    """`answers` are given in turn; when they are used up, 204."""

    port: int = 0
    answers: list[bytes] = field(default_factory=list[bytes])
    received: list[ReceivedRequest] = field(default_factory=list[ReceivedRequest])
    connections: int = 0
    bytes_sent: int = 0
    """Bytes of the last answer that left for the sender."""

    def url(self, path: str = "/hook", *, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            self.received.append(await _request(reader))
            reply = self.answers.pop(0) if self.answers else answer(204)
            if reply == NO_RESPONSE:
                await reader.read()
                return
            for start in range(0, len(reply), 8_192):
                writer.write(reply[start : start + 8_192])
                await writer.drain()
                self.bytes_sent = start
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the sender has left
        finally:
            writer.close()


async def _request(reader: asyncio.StreamReader) -> ReceivedRequest:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    lower = {name.lower(): value for name, value in headers.items()}
    body = await reader.readexactly(int(lower["content-length"]))
    return ReceivedRequest(head[0], lower, body.decode())


@asynccontextmanager
async def receiving(
    *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncGenerator[Receiver]:
    """A receiver that listens, on a free port or that one."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver._serve, host, port, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await server.wait_closed()
