"""The table of events in docs/reference/http-api.md, generated from the catalogue.

`python -m tests.docs.event_table` writes it into the page; a test compares the page with it.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from inspect import getdoc
from pathlib import Path
from typing import Any

from pydantic.alias_generators import to_camel

from perdure.contract.event_types import EVENT_DATA, EventData

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "http-api.md"
BEGIN, END = "<!-- events: generated from the catalogue -->\n", "<!-- end of events -->"


def event_table() -> str:
    """The rows in the order of the catalogue; a field with a question mark may be missing."""
    rows = [
        f"| `{kind.value}` | {_fields(data)} | {' '.join((getdoc(data) or '').split())} |"
        for kind, data in EVENT_DATA.items()
    ]
    return "\n".join(["| type | data | meaning |", "|---|---|---|", *rows, ""])


def with_table(page: str) -> str:
    """The page with the table as it is now. Raises `ValueError` where its marks are missing."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{PAGE.name} has no {BEGIN.strip()} followed by {END}.")
    return f"{before}{BEGIN}\n{event_table()}\n{END}{after}"


def _fields(data: type[EventData]) -> str:
    listed: Any = fields(data)  # pyright: ignore[reportArgumentType] - the base class makes it one
    names = [
        f"`{to_camel(field.name)}`" + ("" if field.default is MISSING else "?") for field in listed
    ]
    return ", ".join(names)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
