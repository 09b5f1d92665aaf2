"""How the commands speak: results on stdout, everything else on stderr, errors in one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import NoReturn, TextIO

import typer
from rich.console import Console

from perdure.errors import PerdureError

console = Console(highlight=False, soft_wrap=True)
"""For people; on stdout."""


def write_status(line: str) -> None:
    """One line beside the result. A terminal that was closed does not hinder the work."""
    _write(sys.stderr, f"{line}\n")


def write_result(line: str) -> None:
    """One line of the result itself."""
    _write(sys.stdout, f"{line}\n")


def write_json(value: object) -> None:
    write_result(json.dumps(value, ensure_ascii=False, indent=2))


def fail(message: str, *, code: int = 1) -> NoReturn:
    """End the command with one line."""
    write_status(message)
    raise typer.Exit(code)


@contextmanager
def plain_errors() -> Generator[None]:
    """What this package raises becomes one line and exit code 1, without a traceback."""
    try:
        yield
    except PerdureError as error:
        lines = str(error).splitlines()
        fail("; ".join(line.strip() for line in lines))


def _write(stream: TextIO, text: str) -> None:
    with suppress(BrokenPipeError):
        stream.write(text)
        stream.flush()
