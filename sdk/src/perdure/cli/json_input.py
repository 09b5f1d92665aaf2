"""JSON on the command line, written there or in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import typer


def read_object(text: str | None) -> dict[str, Any] | None:
    """A JSON object. Raises `typer.BadParameter`."""
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
    """What a file has. Raises `typer.BadParameter`."""
    if file is None:
        return None
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise typer.BadParameter(f"{file} is not JSON: {error}") from error
