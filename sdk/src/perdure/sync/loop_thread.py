"""Runs blocking functions in threads, and coroutines on a background thread."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import threading
import traceback
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


async def in_daemon_thread(function: Callable[[], T]) -> T:
    """Run a blocking function in a thread of its own; cancelling it abandons the thread.

    Not a pool: a function that never returns would keep its slot, and keep the process from ending.
    Raises what the function raises, SystemExit included.
    """
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - handed to the one who waits
            if isinstance(error, MemoryError):  # its frames hold this future
                traceback.clear_frames(error.__traceback__)
            errors.append(error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nothing waits for the result
            loop.call_soon_threadsafe(ended.set)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), daemon=True, name="perdure-function").start()
    await ended.wait()
    if errors:
        raise errors[0]
    return results[0]


class Portal:
    """A background thread with an event loop that runs coroutines.

    The thread starts at the first use. A call from a coroutine that runs on it would wait for itself
    and raises RuntimeError.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run the coroutine and return its result; a KeyboardInterrupt meanwhile cancels it."""
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self._running_loop())
        except BaseException:
            # A KeyboardInterrupt may come before or after the loop has the coroutine.
            if inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
                with contextlib.suppress(ValueError):  # the loop has just begun it
                    coroutine.close()
            raise
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        """The items one by one; leaving the loop early closes the generator."""
        try:
            while True:
                try:
                    item = self.call(_next(items))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            if not self._closed:
                self.call(items.aclose())

    def close(self) -> None:
        """Cancel running coroutines, stop the thread and wait for its end. May be called repeatedly."""
        with self._lock:
            self._closed = True
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._closed:
                raise RuntimeError("This client is closed.")
            if self._loop is None:
                self._loop, self._thread = _start_loop()
            elif threading.current_thread() is self._thread:
                raise RuntimeError(
                    "Inside an async function use AsyncPerdure: Perdure would wait for itself."
                )
            return self._loop


def _start_loop() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=_run_loop, args=(loop,), daemon=True, name="perdure")
    try:
        thread.start()
    except BaseException:  # a KeyboardInterrupt: if the thread runs, it ends
        loop.call_soon_threadsafe(loop.stop)
        raise
    return loop, thread


async def _next(items: AsyncGenerator[T, None]) -> T:
    # StopAsyncIteration may leave a coroutine (StopIteration may not)
    return await anext(items)


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        leftovers = asyncio.all_tasks(loop)
        for task in leftovers:
            task.cancel()
        if leftovers:
            loop.run_until_complete(asyncio.wait(leftovers, timeout=5.0))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
