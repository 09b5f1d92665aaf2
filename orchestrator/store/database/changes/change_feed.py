"""The change feed: whoever waits for a run to change is woken, however many wait and whoever changed it.

There is one feed per process. Hints (see `hints.py`) say that something may have changed; all hints that arrive while a
look is under way lead to one further look, which is one query for all runs in question. So two hundred waiters cost what
one costs, and nobody waiting costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from orchestrator.store.database.changes.sqlite_source import Hints

CATCH_UP_SECONDS = 1.0
"""A change of which no hint came is seen after this long."""
_FAILURE_PAUSE_SECONDS = 0.25


class Sight(NamedTuple):
    """What the feed sees of a run."""

    version: int
    over: bool = False
    """Whether its turn has ended."""


ReadSights = Callable[[Collection[int]], Awaitable[Mapping[int, Sight]]]

_log = logging.getLogger(__name__)


class _Waiter:
    def __init__(self, after: int, *, until_over: bool = False) -> None:
        self.after = after
        self.until_over = until_over
        self.version: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.gave_up = False

    def look(self, sight: Sight | None) -> None:
        """Take note of how the run stands; None: there is no such run, and waiting is in vain."""
        if self.version.done():
            return
        if sight is None:
            self.version.set_result(0)
        elif self.gave_up or self._awaits(sight):
            self.version.set_result(sight.version)

    def _awaits(self, sight: Sight) -> bool:
        return sight.version > self.after and (sight.over or not self.until_over)

    def fail(self, error: Exception) -> None:
        """The store cannot be read: those with time left go on waiting for it."""
        if not self.version.done() and self.gave_up:
            self.version.set_exception(error)


class ChangeFeed:
    """Wakes those who wait for a run's version to rise."""

    def __init__(self, read_sights: ReadSights, hints: Hints) -> None:
        self._read_sights = read_sights
        self._hints = hints
        self._waiters: dict[int, set[_Waiter]] = {}
        self._due: set[int] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def wait(
        self,
        run_key: int,
        after: int,
        timeout: float,  # noqa: ASYNC109 - it is a result
        *,
        until_over: bool = False,
    ) -> int:
        """The run's version: at once if it is past `next_status`, else when it is, or when `timeout` seconds are over.

        With `until_over` only a version counts at which the run's turn has ended. 0 when there is no such run. After `aclose` it answers at once with what is known. Raises the store's error when
        that could not be read at the end of the time either.
        """
        waiter = self._enter(run_key, _Waiter(after, until_over=until_over))
        try:
            await asyncio.wait([waiter.version], timeout=timeout)
            if not waiter.version.done():
                waiter.gave_up = True
                self.hint([run_key])
            return await waiter.version
        finally:
            self._leave(run_key, waiter)

    def publish(self, keys: Iterable[int]) -> None:
        """This process has committed changes to these runs."""
        changed = frozenset(keys)
        if changed and not self._closed:
            self.hint(changed)
            self._hints.tell(changed)

    def hint(self, keys: Iterable[int] | None) -> None:
        """Look at these runs, as far as somebody waits for them; None: at all of them.

        A negative key says that the run has changed and goes on: nothing to look at for those who wait for its end.
        """
        if keys is None:
            due: Collection[int] = self._waiters.keys()
        else:
            due = {abs(key) for key in keys if self._is_waited_for(key)}
        if due:
            self._due.update(due)
            self._wake.set()

    def _is_waited_for(self, hinted: int) -> bool:
        waiters = self._waiters.get(abs(hinted), ())
        return any(hinted > 0 or not waiter.until_over for waiter in waiters)

    async def aclose(self) -> None:
        """End all waiting. Hints of commits that are still on their way to other processes are sent first."""
        self._closed = True
        for waiter in [each for waiters in self._waiters.values() for each in waiters]:
            waiter.gave_up = True
            waiter.look(Sight(waiter.after))
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._hints.aclose()

    # -- waiters -----------------------------------------------------------------------------------

    def _enter(self, run_key: int, waiter: _Waiter) -> _Waiter:
        if self._closed:
            waiter.version.set_result(waiter.after)
            return waiter
        if not self._waiters:
            self._hints.start(
                self.hint
            )  # before the first look: what changes after it is hinted at
        self._waiters.setdefault(run_key, set()).add(waiter)
        self.hint([run_key])
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look_when_hinted(), name="store change feed")
        return waiter

    def _leave(self, run_key: int, waiter: _Waiter) -> None:
        waiters = self._waiters.get(run_key)
        if waiters is None:
            return
        waiters.discard(waiter)
        if not waiters:
            del self._waiters[run_key]
        if not self._waiters:
            self._hints.stop()
            self._wake.set()  # nobody is left: the task ends

    # -- looking -----------------------------------------------------------------------------------

    async def _look_when_hinted(self) -> None:
        clock = asyncio.get_running_loop().time
        catch_up_at = clock() + CATCH_UP_SECONDS
        while self._waiters:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(catch_up_at):
                    await self._wake.wait()
            if clock() >= catch_up_at:  # also where hints of others' runs keep coming
                self.hint(None)
                catch_up_at = clock() + CATCH_UP_SECONDS
            self._wake.clear()
            keys = self._due & self._waiters.keys()
            self._due = set()
            if keys:
                await self._look(keys)

    async def _look(self, keys: set[int]) -> None:
        try:
            sights = await self._read_sights(keys)
        except Exception as error:  # noqa: BLE001 - whatever it is, the feed must outlive it
            _log.warning("the change feed cannot read the store", extra={"error": str(error)})
            for _, waiter in self._waiting_for(keys):
                waiter.fail(error)
            await asyncio.sleep(_FAILURE_PAUSE_SECONDS)
            self._due |= keys
            self._wake.set()
        else:
            for key, waiter in self._waiting_for(keys):
                waiter.look(sights.get(key))

    def _waiting_for(self, keys: set[int]) -> Iterator[tuple[int, _Waiter]]:
        for key in keys:
            for waiter in self._waiters.get(key, ()):
                yield key, waiter
