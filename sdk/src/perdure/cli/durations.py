"""Times on the command line: `90s`, `15m`, `2h`, `3d`, or a date and time."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import typer

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def read_deadline(text: str | None) -> datetime | timedelta | None:
    """The time it means; without a zone it is the local one. Raises `typer.BadParameter`."""
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
