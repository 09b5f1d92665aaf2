"""Output of the commands: results on stdout, everything else on stderr, errors in one line."""

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
"""A console for people, on stdout."""


def write_status(line: str) -> None:
    """Write one line to stderr. A closed terminal is no error."""
    _write(sys.stderr, f"{line}\n")


def write_result(line: str) -> None:
    """Write one line of the result to stdout."""
    _write(sys.stdout, f"{line}\n")


def write_json(value: object) -> None:
    write_result(json.dumps(value, ensure_ascii=False, indent=2))


def fail(message: str, *, code: int = 1) -> NoReturn:
    """End the command with one line."""
    write_status(message)
    raise typer.Exit(code)


@contextmanager
def plain_errors() -> Generator[None]:
    """Print errors of this package as one line without a traceback, and exit with code 1."""
    try:
        yield
    except PerdureError as error:
        lines = str(error).splitlines()
        fail("; ".join(line.strip() for line in lines))


def _write(stream: TextIO, text: str) -> None:
    with suppress(BrokenPipeError):
        stream.write(text)
        stream.flush()
