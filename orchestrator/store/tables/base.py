"""What all tables share."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

BigKey = BigInteger().with_variant(Integer(), "sqlite")
"""An auto-incremented number; SQLite supports that only for INTEGER."""


def run_key_column(*, primary: bool = False) -> Column[int]:
    return Column(
        "run_key",
        BigKey,
        ForeignKey("runs.key", ondelete="CASCADE"),
        primary_key=primary,
        nullable=False,
    )


def index_of_the_few(name: str, first: str, *more: str) -> Index:
    """An index of the rows with a value in its first column; all other rows cost nothing."""
    return index_where(f"{first} IS NOT NULL", name, first, *more)


def index_where(condition: str, name: str, *columns: str) -> Index:
    """A partial index. A query uses it only if it states the condition in the same words."""
    these = text(condition)
    return Index(name, *columns, sqlite_where=these, postgresql_where=these)
