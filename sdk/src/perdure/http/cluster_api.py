"""The API of one cluster: paths, pages, responses."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Generic, TypedDict, TypeVar, Unpack
from urllib.parse import quote

import httpx2
from pydantic import BaseModel

from perdure.contract import Identity, Reply, Request
from perdure.http.transport import QueryValue, Transport, read_reply

ItemT = TypeVar("ItemT")
ReplyT = TypeVar("ReplyT", bound=BaseModel)
_PAGE = 50


class PageOf(Reply, Generic[ItemT]):
    """A page of a list, and the cursor of the next one."""

    items: list[ItemT]
    next_cursor: str | None = None


class Sending(TypedDict, total=False):
    """Options of `Transport.send` besides method and path."""

    query: Mapping[str, QueryValue] | None
    body: Request | bytes | None
    headers: Mapping[str, str] | None
    wait: float
    repeatable: bool
    patience: float | None


class ClusterApi:
    """Requests below `/clusters/{clusterId}`; the id is read from the server once, if it was not given."""

    def __init__(self, transport: Transport, cluster_id: str | None = None) -> None:
        self.transport = transport
        self._cluster_id = cluster_id

    async def identity(self) -> Identity:
        """The identity of the key."""
        return read_reply(Identity, await self.transport.send("GET", "/me"))

    async def cluster_id(self) -> str:
        """The cluster's id."""
        if self._cluster_id is None:
            self._cluster_id = (await self.identity()).cluster_id
        return self._cluster_id

    async def path(self, *parts: str) -> str:
        """A path below the cluster's; ids and names are escaped."""
        every = ("clusters", await self.cluster_id(), *parts)
        return "".join(f"/{quote(part, safe='')}" for part in every)

    async def send(self, method: str, *parts: str, **sending: Unpack[Sending]) -> httpx2.Response:
        """Send a request; see `Transport.send`."""
        return await self.transport.send(method, await self.path(*parts), **sending)

    async def read(
        self, reply: type[ReplyT], method: str, *parts: str, **sending: Unpack[Sending]
    ) -> ReplyT:
        """Send a request and parse its response."""
        return read_reply(reply, await self.send(method, *parts, **sending))

    async def pages(
        self,
        page: type[PageOf[ItemT]],
        *parts: str,
        query: Mapping[str, QueryValue] | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[ItemT, None]:
        """The items of a list, at most `limit`. Pages are fetched as needed."""
        path = await self.path(*parts)
        async for item in read_pages(self.transport, path, page, query=query, limit=limit):
            yield item

    async def all(
        self,
        page: type[PageOf[ItemT]],
        *parts: str,
        query: Mapping[str, QueryValue] | None = None,
    ) -> list[ItemT]:
        """All items of a short list."""
        return [item async for item in self.pages(page, *parts, query=query)]


class OfCluster:
    """Base of the resources of a cluster."""

    def __init__(self, api: ClusterApi) -> None:
        self._api = api


async def read_pages(
    transport: Transport,
    path: str,
    page: type[PageOf[ItemT]],
    *,
    query: Mapping[str, QueryValue] | None = None,
    limit: int | None = None,
) -> AsyncGenerator[ItemT, None]:
    """The items of a list at any path, at most `limit`. Pages are fetched as needed."""
    asked: dict[str, QueryValue] = dict(query or {})
    left = limit
    while left is None or left > 0:
        asked["limit"] = _PAGE if left is None else min(_PAGE, left)
        found = read_reply(page, await transport.send("GET", path, query=asked))
        for item in found.items:
            yield item
        if found.next_cursor is None:
            return
        asked["cursor"] = found.next_cursor
        left = None if left is None else left - len(found.items)
