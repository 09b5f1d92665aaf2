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
"""A number that counts up by itself; SQLite does so only for INTEGER."""


def run_key_column(*, primary: bool = False) -> Column[int]:
    return Column(
        "run_key",
        BigKey,
        ForeignKey("runs.key", ondelete="CASCADE"),
        primary_key=primary,
        nullable=False,
    )


def index_of_the_few(name: str, first: str, *more: str) -> Index:
    """An index of the rows that have a value in its first column: all others cost nothing."""
    known = text(f"{first} IS NOT NULL")
    return Index(name, first, *more, sqlite_where=known, postgresql_where=known)
