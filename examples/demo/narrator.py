"""Prints a run for a person, one line per event."""

from __future__ import annotations

import logging
import sys
import textwrap
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TextIO

from typing_extensions import override

from perdure import Event, StatusChange

_WIDTH = 110
_Data = Mapping[str, Any]


class Narrator:
    """Writes lines, from several threads. Times are seconds since the run was created."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._lock = threading.Lock()
        self._began: datetime | None = None

    def say(self, text: str = "") -> None:
        """A line, or an empty one."""
        with self._lock:
            self._stream.write(f"{text}\n")
            self._stream.flush()

    def say_event(self, event: Event) -> None:
        """A line about an event of the run; some events are not worth one."""
        self._began = self._began or event.created_at
        described = describe(event)
        if described is not None:
            who, what = described
            after = (event.created_at - self._began).total_seconds()
            self.say(f"  {after:6.2f} s  {who:<9}{_shortened(what)}")

    def say_aside(self, who: str, what: str) -> None:
        """A line about something that is no event of the run."""
        self.say(f"  {'':8}  {who:<9}{_shortened(what)}")

    def say_table(self, values: Mapping[str, object]) -> None:
        """Names and values below each other; long ones wrapped."""
        for name, value in values.items():
            first = f"  {name:<10}"
            for line in textwrap.wrap(
                str(value), _WIDTH, initial_indent=first, subsequent_indent=" " * len(first)
            ):
                self.say(line)

    def say_notified(self, change: StatusChange) -> None:
        """A line from the status-change handler."""
        self.say_aside("handler", f"notified: {change.previous} -> {change.status}")


class Eavesdropper(logging.Handler):
    """Passes what the example's functions log on to the narrator."""

    def __init__(self, narrator: Narrator, who: str) -> None:
        super().__init__()
        self._narrator = narrator
        self._who = who

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self._narrator.say_aside(self._who, record.getMessage())


def describe(event: Event) -> tuple[str, str] | None:
    """Who did what, in words; None for an event that a reader can do without."""
    teller = _TELLERS.get(event.type)
    return None if teller is None else teller(event.data)


def _status(data: _Data) -> tuple[str, str]:
    reason = f" ({data['reason']})" if data.get("reason") else ""
    return "status", f"{data['previous']} -> {data['status']}{reason}"


def _step(data: _Data) -> tuple[str, str]:
    usage = data["usage"]
    tokens = f"{usage['inputTokens']:,} tokens in, {usage['outputTokens']:,} out"
    return "model", f"step {data['step']} recorded: {data['model']} replied ({tokens})"


def _finished(data: _Data) -> tuple[str, str]:
    how = "result" if data["resultType"] == "resolution" else "error"
    return "call", f"{data['function']} brought a {how} of {data['size']:,} characters"


def _waiting(data: _Data) -> tuple[str, str]:
    return "waiting", str(data["detail"])


_TELLERS: Mapping[str, Callable[[_Data], tuple[str, str]]] = {
    "run.created": lambda _: ("status", "pending: accepted, and kept whatever happens now"),
    "run.status": _status,
    "run.waiting": _waiting,
    "step.recorded": _step,
    "step.attempted": lambda data: ("model", f"step {data['step']}, attempt {data['attempt']}"),
    "reply.corrected": lambda data: ("check", f"the result was sent back: {data['problem']}"),
    "call.finished": _finished,
    "call.retried": lambda data: ("call", f"will be tried again: {data['error']}"),
    "call.summarized": lambda data: ("call", f"{data['size']:,} characters were summarized"),
}


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
