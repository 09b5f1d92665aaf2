"""Reasons why the stack cannot run, in one line for the terminal."""

from __future__ import annotations

from perdure.errors import PerdureError


class StackError(PerdureError):
    """The local stack cannot start or continue. The message names the cause and a fix."""


class NotReadyError(StackError):
    """A process of the stack did not become ready in time. `log` holds the last lines that it wrote."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log
