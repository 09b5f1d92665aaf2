"""Tables and migration revisions of the store."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

from sqlalchemy import (
    Column,
    Constraint,
    DefaultClause,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)
from sqlalchemy.dialects import postgresql, sqlite

from orchestrator.store.migrations import versions
from orchestrator.store.tables import metadata
from tests.compatibility.comparison import Json

_POSTGRES, _SQLITE = postgresql.dialect(), sqlite.dialect()


def tables() -> Json:
    """Columns, keys and indexes of each table; each revision with its predecessor."""
    revisions: dict[str, Json] = {}
    for found in pkgutil.iter_modules(versions.__path__, f"{versions.__name__}."):
        script = importlib.import_module(found.name)
        revisions[script.revision] = {"after": script.down_revision}
    return {
        "tables": {name: _table(table) for name, table in metadata.tables.items()},
        "revisions": revisions,
    }


def _table(table: Table) -> dict[str, Json]:
    return {
        "columns": {column.name: _column(column) for column in table.columns},
        "keys": dict(_key(constraint) for constraint in _keys(table)),
        "indexes": {str(index.name): _index(index) for index in table.indexes},
    }


def _column(column: Column[object]) -> dict[str, Json]:
    entry: dict[str, Json] = {
        "type": column.type.compile(_POSTGRES),
        "in SQLite": column.type.compile(_SQLITE),
        "nullable": bool(column.nullable),
    }
    default = column.server_default
    if isinstance(default, DefaultClause):
        entry["default"] = str(default.arg)
    return entry


def _keys(table: Table) -> Iterator[Constraint]:
    for constraint in table.constraints:
        if isinstance(constraint, PrimaryKeyConstraint | ForeignKeyConstraint | UniqueConstraint):
            yield constraint


def _key(constraint: Constraint) -> tuple[str, Json]:
    assert isinstance(constraint, PrimaryKeyConstraint | ForeignKeyConstraint | UniqueConstraint)
    columns = ", ".join(constraint.columns.keys())
    if isinstance(constraint, ForeignKeyConstraint):
        target = ", ".join(element.target_fullname for element in constraint.elements)
        return str(constraint.name), f"{columns} -> {target}, on delete {constraint.ondelete}"
    kind = "primary" if isinstance(constraint, PrimaryKeyConstraint) else "unique"
    return str(constraint.name), f"{kind}: {columns}"


def _index(index: Index) -> str:
    condition = index.dialect_options["postgresql"]["where"]
    only = f" where {condition}" if condition is not None else ""
    return f"{'unique ' if index.unique else ''}{', '.join(index.columns.keys())}{only}"
