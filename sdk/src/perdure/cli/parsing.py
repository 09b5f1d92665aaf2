"""Parses arguments and files of the command line: times, JSON, `key=value` pairs."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import typer

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def read_deadline(text: str | None) -> datetime | timedelta | None:
    """Parse a time, local unless it names a zone. Raises `typer.BadParameter`."""
    if text is None:
        return None
    if found := re.fullmatch(r"(\d{1,6})([smhd])", text):
        return timedelta(**{_UNITS[found[2]]: int(found[1])})
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is neither a duration like 90s, 15m, 2h nor a time like 2026-12-24T18:00"
        ) from error


def read_object(text: str | None) -> dict[str, Any] | None:
    """Parse a JSON object. Raises `typer.BadParameter`."""
    if text is None:
        return None
    try:
        value: object = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise typer.BadParameter(f"{text!r} is no JSON object")
    return cast(dict[str, Any], value)


def read_json_file(file: Path | None) -> Any:
    """Read a file. Raises `typer.BadParameter`."""
    if file is None:
        return None
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise typer.BadParameter(f"{file} is not JSON: {error}") from error


def read_pairs(pairs: Sequence[str] | None) -> dict[str, str]:
    """Parse `key=value` pairs; a value may contain `=`. Raises `typer.BadParameter`."""
    read: dict[str, str] = {}
    for pair in pairs or ():
        key, sign, value = pair.partition("=")
        if not (key and sign):
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE")
        read[key] = value
    return read
