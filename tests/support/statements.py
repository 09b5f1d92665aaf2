"""Statements are compiled once for all tests. Each test opens a database of its own, and SQLAlchemy would compile them
anew for each, which was a quarter of the processor time of the store's tests.

It keeps compiled statements per engine and dialect object. Here all engines keep them in one place, and dialect objects
of one kind, which are all set up alike, count as the same.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg, PGDialectAsync_psycopg
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from typing_extensions import override

_compiled: dict[Any, Any] = {}


class _Alike:
    @override
    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    @override
    def __hash__(self) -> int:
        return hash(type(self))


class Sqlite(_Alike, SQLiteDialect_aiosqlite):
    supports_statement_cache = True


class AsyncPostgres(_Alike, PGDialectAsync_psycopg):
    supports_statement_cache = True


class Postgres(PGDialect_psycopg):
    supports_statement_cache = True

    @override
    @classmethod
    def get_async_dialect_cls(cls, url: Any) -> Any:
        return AsyncPostgres


def _use_what_is_compiled(connection: Connection) -> None:
    connection.execution_options(compiled_cache=_compiled)


def compile_once() -> None:
    """For all engines that are made from now on."""
    registry.register("sqlite.aiosqlite", __name__, "Sqlite")
    registry.register("postgresql.psycopg", __name__, "Postgres")
    event.listen(Engine, "engine_connect", _use_what_is_compiled)
