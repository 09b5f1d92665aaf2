"""Sends webhooks: one signed request to a checked address, and the interpretation of its response.

Signatures are those of Standard Webhooks. The name is resolved here, and the connection is made to the address
that was checked, so a name that resolves differently later gains nothing. Redirects and proxies are not used,
no connection is shared, and only the beginning of a response is read.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import partial
from http import HTTPStatus

import httpx2
from standardwebhooks import Webhook

from orchestrator.runtime.clock import now_ms, to_datetime
from orchestrator.runtime.url_policy import Address, AddressRules, Endpoint

CONNECT_SECONDS = 10.0
TOTAL_SECONDS = 15.0
"""Seconds of one attempt, from the resolution of the name to the end of the response."""
MAX_RETRY_AFTER = 6 * 3_600.0
"""The longest delay, in seconds, that a receiver can request."""
_ANSWER_BYTES = 300
"""Characters of a refusal's text that are stored for people; the rest is not read."""
_ADDRESSES = 4
"""Addresses of one name that are tried in one attempt."""
_USER_AGENT = "Perdure-Webhook/1"
_RETRY_AFTER_STATUSES = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}


class DeliveryOutcome(StrEnum):
    DELIVERED = "delivered"
    RETRY = "retry"
    GONE = "gone"
    """The receiver refuses further webhooks."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of one attempt. `retry_after`: seconds of the receiver's `Retry-After`."""

    outcome: DeliveryOutcome
    reason: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """The message of a webhook. Its id is the same for every attempt."""

    id: str
    url: str
    body: str
    secrets: Sequence[str]
    """`whsec_…`, newest first: there is one signature of each."""


_RESOLVERS = ThreadPoolExecutor(16, thread_name_prefix="webhook-names")
"""A thread pool of its own, so that a name server that never answers blocks only webhooks."""
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def look_up(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, by the system's resolver. Raises `OSError`."""
    question = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_RESOLVERS, question)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class WebhookSender:
    """Sends webhooks. One per process; close it with `aclose`."""

    def __init__(
        self,
        rules: AddressRules,
        *,
        resolve: Resolve = look_up,
        tls: ssl.SSLContext | None = None,
        seconds: float = TOTAL_SECONDS,
    ) -> None:
        self._policy = rules
        self._seconds = seconds
        self._resolve = resolve
        # No connection is reused: one made for a name must not carry a request for another name at the same address.
        self._client = httpx2.AsyncClient(
            verify=tls or httpx2.create_ssl_context(),
            trust_env=False,
            follow_redirects=False,
            timeout=httpx2.Timeout(seconds, connect=CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    async def send(self, notice: Notice) -> Answer:
        """One attempt. Every error is an outcome, not an exception."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._send(notice)
        except TimeoutError:
            return Answer(DeliveryOutcome.RETRY, f"no answer within {self._seconds:g} s")
        except (httpx2.HTTPError, OSError) as error:
            return Answer(DeliveryOutcome.RETRY, f"the connection failed: {_describe_error(error)}")
        except ValueError as error:
            return Answer(DeliveryOutcome.RETRY, str(error))

    async def _send(self, notice: Notice) -> Answer:
        endpoint = self._policy.admit(notice.url)
        *others, last = await self._addresses(endpoint)
        for address in others:
            try:
                return await self._post(notice, endpoint, address)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):  # another address may answer
                continue
        return await self._post(notice, endpoint, last)

    async def _addresses(self, endpoint: Endpoint) -> list[Address]:
        """The allowed addresses, at least one. Raises `ValueError`, `OSError`."""
        if endpoint.literal is not None:
            return [endpoint.literal]  # checked with the URL
        found = await self._resolve(endpoint.host, endpoint.port)
        admitted: list[Address] = []
        refusals: list[str] = []
        for text in found:
            try:
                address = ipaddress.ip_address(text)
                self._policy.check(endpoint, address)
                admitted.append(address)
            except ValueError as error:
                refusals.append(str(error))
        if not admitted:
            raise ValueError(f"{endpoint.host}: {refusals[0] if refusals else 'has no address'}")
        return admitted[:_ADDRESSES]

    async def _post(self, notice: Notice, endpoint: Endpoint, address: Address) -> Answer:
        request = self._client.build_request(
            "POST",
            endpoint.url_at(address),
            content=notice.body.encode(),
            headers=_headers(notice) | {"Host": endpoint.authority},
            extensions={"sni_hostname": endpoint.host},
        )
        response = await self._client.send(request, stream=True)
        try:
            return await _read(response)
        finally:
            await response.aclose()


def _headers(notice: Notice) -> dict[str, str]:
    at = to_datetime(now_ms())
    signatures = [Webhook(secret).sign(notice.id, at, notice.body) for secret in notice.secrets]
    return {
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": _USER_AGENT,
        "webhook-id": notice.id,
        "webhook-timestamp": str(math.floor(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


async def _read(response: httpx2.Response) -> Answer:
    status = response.status_code
    if response.is_success:
        return Answer(DeliveryOutcome.DELIVERED, str(status))
    if response.is_redirect:
        return Answer(
            DeliveryOutcome.RETRY, f"{status}: webhooks follow no redirects; give the final URL"
        )
    excerpt = await _beginning(response)
    reason = f"{status}: {excerpt}" if excerpt else f"{status} {response.reason_phrase}".strip()
    if status == HTTPStatus.GONE:
        return Answer(DeliveryOutcome.GONE, reason)
    pause = None
    if status in _RETRY_AFTER_STATUSES:
        pause = retry_after(response.headers.get("retry-after", ""), to_datetime(now_ms()))
    return Answer(DeliveryOutcome.RETRY, reason, pause)


async def _beginning(response: httpx2.Response) -> str:
    read = b""
    async for chunk in response.aiter_raw(_ANSWER_BYTES):
        read += chunk
        if len(read) >= _ANSWER_BYTES:
            break
    text = read[:_ANSWER_BYTES].decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def retry_after(value: str, now: datetime) -> float | None:
    """Seconds of a `Retry-After` header, a number or a date; None if it is invalid."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            at = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds()
    if not math.isfinite(seconds):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def _describe_error(error: Exception) -> str:
    return str(error) or type(error).__name__
