"""The stack of the demo: `perdure dev` in a process of its own, for as long as it is needed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from perdure.dev.child import bound_command

STOP_SECONDS = 60.0


class DemoError(Exception):
    """The demo cannot go on; the text is one line that says why."""


class Connection(BaseModel):
    """What `perdure dev --json` says when it is ready."""

    model_config = ConfigDict(alias_generator=to_camel)

    url: str
    api_key: str
    cluster_id: str
    temporal_address: str


@contextmanager
def running_stack(
    state_dir: Path,
    say: Callable[[str], None],
    *,
    command: tuple[str, ...] = (sys.executable, "-m", "perdure.cli", "dev"),
    environment: Mapping[str, str] = os.environ,
) -> Generator[Connection]:
    """Everything that a run needs, on a free port, stopped at the end. `say` hears what the stack has to say.

    Raises `DemoError` with the stack's own words when it does not start.
    """
    options = ("--json", "--port", "0", "--state-dir", str(state_dir))
    process = subprocess.Popen(  # noqa: S603 - our own command
        bound_command((*command, *options)),
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the demo, which then stops the stack
    )
    errors = _ErrorLines(process, say)
    try:
        yield _read_connection(process, errors)
    finally:
        errors.say_no_more()
        _stop(process)


class _ErrorLines:
    """What the stack writes beside its one line of output: said at once when it is ready, remembered before."""

    def __init__(self, process: subprocess.Popen[str], say: Callable[[str], None]) -> None:
        self.first: deque[str] = deque(maxlen=20)
        self._say = say
        self._aloud = False
        self._thread = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._thread.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        for line in process.stderr or ():
            if self._aloud:
                self._say(line.rstrip())
            else:
                self.first.append(line.rstrip())

    def say_from_now_on(self) -> None:
        self._aloud = True

    def say_no_more(self) -> None:
        self._aloud = False

    def wait_for_all(self) -> None:
        self._thread.join(timeout=5.0)


def _read_connection(process: subprocess.Popen[str], errors: _ErrorLines) -> Connection:
    line = process.stdout.readline() if process.stdout else ""
    try:
        connection = Connection.model_validate_json(line)
    except ValidationError as error:
        errors.wait_for_all()
        said = next((line for line in errors.first if line), "it said nothing")
        raise DemoError(f"The stack did not start: {said}") from error
    errors.say_from_now_on()
    return connection


def _stop(process: subprocess.Popen[str]) -> None:
    """Ask the stack to stop all its parts, and wait until it has."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()  # its parts die with it
        process.wait()
    finally:
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()
