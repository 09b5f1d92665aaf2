"""A peer's child process, seen from here: orders go in as JSON lines, answers come out."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.peers.errors import PeerError

_SECONDS_TO_START = 120.0
_SECONDS_TO_STOP = 30.0
_SECONDS_TO_ANSWER = 180.0
_LOG_BYTES = 2000


class RunningPeer:
    """One peer at work. It ends when its input ends: with this process, whatever happens to it.

    `pid` is the child's; a worker or a server that the peer consists of is a child of that one.
    """

    def __init__(
        self, command: Sequence[str | Path], environment: Mapping[str, str], log: Path
    ) -> None:
        self._log = log
        self._said = b""
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
        self.pid = self._process.pid
        try:
            self._answer("does not start", _SECONDS_TO_START)
        except PeerError:
            self.stop()
            raise

    def measure(self, *, steps: int, runs: int = 1, concurrent: int | None = None) -> float:
        """Seconds in which so many runs of so many iterations, at most `concurrent` at once, have all ended right.

        Blocks the thread. Raises `PeerError` when a run ended wrong, or three minutes were not enough.
        """
        order = {"runs": runs, "concurrent": concurrent or runs, "steps": steps}
        assert self._process.stdin is not None  # noqa: S101 # a pipe was asked for
        try:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise PeerError(f"has ended: {self._last_words()}") from error
        answer = self._answer("gave no answer", _SECONDS_TO_ANSWER)
        return float(str(answer["seconds"]))

    def stop(self) -> None:
        """End it, and all it consists of. Does nothing when it has ended."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS_TO_STOP)
            return
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _answer(self, complaint: str, seconds: float) -> dict[str, object]:
        line = self._line(time.monotonic() + seconds)
        if line is None:
            raise PeerError(f"{complaint}: {self._last_words()}")
        answer: dict[str, object] = json.loads(line)
        if "error" in answer:
            raise PeerError(f"did it wrong: {answer['error']}")
        return answer

    def _line(self, deadline: float) -> bytes | None:
        """The next line, or None at the end or when time is up."""
        assert self._process.stdout is not None  # noqa: S101 # a pipe was asked for
        stdout = self._process.stdout.fileno()
        while b"\n" not in self._said:
            readable, _, _ = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(stdout, 65536) if readable else b""
            if not chunk:
                return None
            self._said += chunk
        line, _, self._said = self._said.partition(b"\n")
        return line

    def _last_words(self) -> str:
        lines = self._log.read_bytes()[-_LOG_BYTES:].decode(errors="replace").strip().splitlines()
        return f"{lines[-1][:300] if lines else 'it wrote nothing'} ({self._log})"
