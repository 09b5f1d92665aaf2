"""`key=value` on the command line."""

from __future__ import annotations

from collections.abc import Sequence

import typer


def read_pairs(pairs: Sequence[str] | None) -> dict[str, str]:
    """The pairs as a mapping; a value may contain `=`. Raises `typer.BadParameter`."""
    read: dict[str, str] = {}
    for pair in pairs or ():
        key, sign, value = pair.partition("=")
        if not (key and sign):
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE")
        read[key] = value
    return read
