"""The change feed: wakes every waiter of a run that changed, whichever process changed it.

There is one feed per process. Hints (see `sqlite_source.py`) say that something may have changed. All hints that arrive
during a read lead to one further read, which is one query for all runs in question. So two hundred waiters cost what one
costs, and no waiter costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from orchestrator.store.database.changes.sqlite_source import ChangeSource

CATCH_UP_SECONDS = 1.0
"""A change without a hint is seen after this time."""
_FAILURE_PAUSE_SECONDS = 0.25


class RunVersion(NamedTuple):
    """What the feed reads of a run."""

    version: int
    is_final: bool = False
    """Whether its turn has ended."""


ReadRunVersions = Callable[[Collection[int]], Awaitable[Mapping[int, RunVersion]]]

_log = logging.getLogger(__name__)


class _Waiter:
    def __init__(self, after: int, *, until_final: bool = False) -> None:
        self.after = after
        self.until_final = until_final
        self.version: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.timed_out = False

    def update(self, seen: RunVersion | None) -> None:
        """Record the run's state; None: there is no such run, and waiting is useless."""
        if self.version.done():
            return
        if seen is None:
            self.version.set_result(0)
        elif self.timed_out or self._is_met_by(seen):
            self.version.set_result(seen.version)

    def _is_met_by(self, seen: RunVersion) -> bool:
        return seen.version > self.after and (seen.is_final or not self.until_final)

    def fail(self, error: Exception) -> None:
        """The store cannot be read: waiters with time left continue to wait."""
        if not self.version.done() and self.timed_out:
            self.version.set_exception(error)


class ChangeFeed:
    """Wakes waiters when a run's version rises."""

    def __init__(self, read_versions: ReadRunVersions, changes: ChangeSource) -> None:
        self._read_versions = read_versions
        self._changes = changes
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
        until_final: bool = False,
    ) -> int:
        """The run's version: at once if it is greater than `after`, else when it is, or after `timeout` seconds.

        With `until_final` only a version at which the run's turn has ended counts. 0 if there is no such run. After `aclose` it
        returns the last known version at once. Raises the store's error if the store was still unreadable at the timeout.
        """
        waiter = self._add_waiter(run_key, _Waiter(after, until_final=until_final))
        try:
            await asyncio.wait([waiter.version], timeout=timeout)
            if not waiter.version.done():
                waiter.timed_out = True
                self.notify([run_key])
            return await waiter.version
        finally:
            self._remove_waiter(run_key, waiter)

    def publish(self, keys: Iterable[int]) -> None:
        """This process has committed changes to these runs."""
        changed = frozenset(keys)
        if changed and not self._closed:
            self.notify(changed)
            self._changes.publish(changed)

    def notify(self, keys: Iterable[int] | None) -> None:
        """Read these runs, if there are waiters for them; None: all awaited runs.

        A negative key says that the run has changed and is still running: waiters for its end are not concerned.
        """
        if keys is None:
            due: Collection[int] = self._waiters.keys()
        else:
            due = {abs(key) for key in keys if self._has_waiter(key)}
        if due:
            self._due.update(due)
            self._wake.set()

    def _has_waiter(self, changed: int) -> bool:
        waiters = self._waiters.get(abs(changed), ())
        return any(changed > 0 or not waiter.until_final for waiter in waiters)

    async def aclose(self) -> None:
        """End all waits. Hints of commits that are still to be sent to other processes are sent first."""
        self._closed = True
        for waiter in [each for waiters in self._waiters.values() for each in waiters]:
            waiter.timed_out = True
            waiter.update(RunVersion(waiter.after))
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._changes.aclose()

    # -- waiters -----------------------------------------------------------------------------------

    def _add_waiter(self, run_key: int, waiter: _Waiter) -> _Waiter:
        if self._closed:
            waiter.version.set_result(waiter.after)
            return waiter
        if not self._waiters:
            self._changes.start(
                self.notify
            )  # before the first read: later changes come with a hint
        self._waiters.setdefault(run_key, set()).add(waiter)
        self.notify([run_key])
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(
                self._refresh_when_notified(), name="store change feed"
            )
        return waiter

    def _remove_waiter(self, run_key: int, waiter: _Waiter) -> None:
        waiters = self._waiters.get(run_key)
        if waiters is None:
            return
        waiters.discard(waiter)
        if not waiters:
            del self._waiters[run_key]
        if not self._waiters:
            self._changes.stop()
            self._wake.set()  # no waiter is left: the task ends

    # -- reading -----------------------------------------------------------------------------------

    async def _refresh_when_notified(self) -> None:
        clock = asyncio.get_running_loop().time
        catch_up_at = clock() + CATCH_UP_SECONDS
        while self._waiters:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(catch_up_at):
                    await self._wake.wait()
            if clock() >= catch_up_at:  # also while hints of other runs keep coming
                self.notify(None)
                catch_up_at = clock() + CATCH_UP_SECONDS
            self._wake.clear()
            keys = self._due & self._waiters.keys()
            self._due = set()
            if keys:
                await self._refresh(keys)

    async def _refresh(self, keys: set[int]) -> None:
        try:
            versions = await self._read_versions(keys)
        except Exception as error:  # noqa: BLE001 - whatever it is, the feed must outlive it
            _log.warning("the change feed cannot read the store", extra={"error": str(error)})
            for _, waiter in self._waiters_of(keys):
                waiter.fail(error)
            await asyncio.sleep(_FAILURE_PAUSE_SECONDS)
            self._due |= keys
            self._wake.set()
        else:
            for key, waiter in self._waiters_of(keys):
                waiter.update(versions.get(key))

    def _waiters_of(self, keys: set[int]) -> Iterator[tuple[int, _Waiter]]:
        for key in keys:
            for waiter in self._waiters.get(key, ()):
                yield key, waiter
