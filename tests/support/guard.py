"""Refuses to start processes, and to connect to Temporal, while a test runs that may not."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from temporalio.bridge.client import Client

_STARTS = frozenset(
    ("os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "subprocess.Popen")
)
_NOBODY = "http://127.0.0.1:1"
"""Where nothing listens: tests whose Temporal is away may try it."""


class RefusedError(AssertionError):
    """A test did what the fixtures it uses do not allow."""


class Guard:
    """What the running test may not do, and what it tried nevertheless."""

    def __init__(self) -> None:
        self._processes = False
        self._temporal = False
        self._refused: list[str] = []
        self._connect = Client.connect
        sys.addaudithook(self._audit)
        Client.connect = staticmethod(self._connect_guarded)

    @contextmanager
    def forbidding(self, *, processes: bool, temporal: bool) -> Generator[None]:
        """Forbid these within the block.

        Raises `RefusedError` at its end when one was tried: the test may have swallowed the first error.
        """
        self._processes, self._temporal = processes, temporal
        try:
            yield
        finally:
            self._processes = self._temporal = False
            refused, self._refused = self._refused, []
        if refused:
            raise RefusedError(refused[0])

    def _refuse(self, what: str) -> None:
        self._refused.append(what)
        raise RefusedError(what)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._processes and event in _STARTS:
            self._refuse(f"{event}{arguments[:2]} without the fixture `processes`")

    async def _connect_guarded(self, runtime: Any, config: Any) -> Client:
        if self._temporal and config.target_url != _NOBODY:
            self._refuse(f"connects to {config.target_url} without the fixture `temporal_address`")
        return await self._connect(runtime, config)


GUARD = Guard()
