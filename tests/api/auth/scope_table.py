"""Writes the table of operations and scopes into the documentation: `python -m tests.api.auth.scope_table`."""

from __future__ import annotations

import re

from api.auth.scopes import SCOPES
from tests.docs.doc_blocks import REPOSITORY
from tests.support.tenants import keyed_operations


def table() -> str:
    """The table's rows, by address."""
    rows = [
        (operation.path, operation.method, operation.id, ", ".join(sorted(SCOPES[operation.id])))
        for operation in keyed_operations()
    ]
    lines = [
        f"| `{name}` | `{method} {path}` | {scopes} |"
        for path, method, name, scopes in sorted(rows)
    ]
    return "\n".join(["| operation | address | scopes |", "|---|---|---|", *lines])


def main() -> None:
    """Put the table in the place of the one that is there."""
    page = REPOSITORY / "docs" / "reference" / "clusters-and-keys.md"
    old = re.compile(r"\| operation \| address \| scopes \|\n(\|.*\n?)+")
    page.write_text(old.sub(lambda _: table() + "\n", page.read_text()))


if __name__ == "__main__":
    main()
