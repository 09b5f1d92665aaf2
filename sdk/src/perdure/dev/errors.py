"""Why the stack cannot run, in one line for the terminal."""

from __future__ import annotations

from perdure.errors import PerdureError


class StackError(PerdureError):
    """The local stack cannot start or go on. The message names the cause and a cure."""


class NotReadyError(StackError):
    """A part of the stack did not come up in time. `log` holds the last lines it wrote."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log
