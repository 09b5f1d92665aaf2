"""Synchronous proxies of asynchronous objects: the same methods, run on the client's background thread."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from perdure.sync.loop_thread import Portal

AioT = TypeVar("AioT")
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class SyncProxy(Generic[AioT]):
    """An asynchronous object, `aio`, and the thread that runs it."""

    def __init__(self, portal: Portal, aio: AioT) -> None:
        self.portal = portal
        self.aio = aio


class sync_method(Generic[P, R]):  # noqa: N801 - read as a decorator
    """A coroutine method of the asynchronous object, as a method of the proxy that returns when it is done."""

    def __init__(self, method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]) -> None:
        self.__doc__ = method.__doc__
        self._method = method

    @overload
    def __get__(self, proxy: None, owner: type) -> Self: ...
    @overload
    def __get__(self, proxy: SyncProxy[Any], owner: type) -> Callable[P, R]: ...
    def __get__(self, proxy: SyncProxy[Any] | None, owner: type) -> Self | Callable[P, R]:
        if proxy is None:
            return self
        portal = proxy.portal
        bound = functools.partial(self._method, proxy.aio)

        @functools.wraps(self._method)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return portal.call(bound(*args, **kwargs))

        return call


class sync_iterator(Generic[P, T]):  # noqa: N801 - read as a decorator
    """An asynchronous generator as an iterator of the proxy. The loop over it may end early."""

    def __init__(self, method: Callable[Concatenate[Any, P], AsyncGenerator[T, None]]) -> None:
        self.__doc__ = method.__doc__
        self._method = method

    @overload
    def __get__(self, proxy: None, owner: type) -> Self: ...
    @overload
    def __get__(self, proxy: SyncProxy[Any], owner: type) -> Callable[P, Iterator[T]]: ...
    def __get__(self, proxy: SyncProxy[Any] | None, owner: type) -> Self | Callable[P, Iterator[T]]:
        if proxy is None:
            return self
        portal = proxy.portal
        bound = functools.partial(self._method, proxy.aio)

        @functools.wraps(self._method)
        def call(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
            return portal.iterate(bound(*args, **kwargs))

        return call
