"""Migrates a database to the schema of this code. One process does it, the others wait until it is done.

There is no `alembic.ini`: the migrations are in this package, and a connection is passed in. Generate a new one with
`python -m orchestrator.store.migrations "what changes"`, then review and correct it.

An empty database is created from `tables`; a test proves that all migrations together make the same. So a process imports
Alembic (0.15 s, 10 MB) only if there is something to migrate.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.runtime.file_lock import FileLock
from orchestrator.store.database.drivers.sqlite import open_writer, sqlite_engine
from orchestrator.store.database.engine import Database, migration_lock
from orchestrator.store.tables import metadata

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATIONS = Path(__file__).with_name("versions")
_VERSION = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), primary_key=True, nullable=False),
)
"""The table in which Alembic stores the revision."""
_ADVISORY_LOCK = 0x7065726475  # "perdu": an arbitrary number of our own
_ORPHANS = text("PRAGMA foreign_key_check")


class NewerDatabaseError(RuntimeError):
    """The database has a schema that this code does not know."""


async def migrate(database: Database) -> None:
    """Migrate the tables to the newest schema; returns when they have it, whichever process did the work.

    Everything happens in one transaction: a process that dies half-way leaves the old schema. Raises `NewerDatabaseError`
    if a newer version of the program migrated it before; nothing is changed then.
    """
    if await revision(database) == expected_revision():
        return
    async with _exclusive_connection(database) as connection, connection.begin():
        await connection.run_sync(_upgrade)


async def revision(database: Database) -> str | None:
    """The revision the database has; None when it is empty."""
    async with database.read() as read:
        return await read.run_sync(_current)


@cache
def expected_revision() -> str:
    """The revision of this code: the greatest number at the beginning of the migrations' file names."""
    return max(file.stem.partition("_")[0] for file in _MIGRATIONS.glob("[0-9]*.py"))


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration, complete without a file."""
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", "orchestrator.store:migrations")
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@asynccontextmanager
async def _exclusive_connection(database: Database) -> AsyncGenerator[AsyncConnection]:
    """A connection on which no other process changes tables meanwhile: the others wait for the lock."""
    if database.path is None:
        async with database.engine.connect() as connection:
            yield connection
        return
    # Changing a table may mean to copy it and drop the old one, which must not cascade: so this connection
    # does not enforce foreign keys; they are checked when all is done.
    engine = sqlite_engine(database.path, readers=0, foreign_keys=False)
    async with FileLock(migration_lock(database.path)).hold():
        try:
            async with aclosing(await open_writer(engine)) as connection:
                yield connection
        finally:
            await engine.dispose()


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_VERSION.name):
        return None
    return connection.execute(select(_VERSION.c.version_num)).scalars().first()


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
    current = _current(connection)
    if current == expected_revision():  # another process was faster
        return
    if current is None and not inspect(connection).get_table_names():
        create(connection)
        return
    if current is not None:
        _refuse_unknown(current)
    upgrade(connection)
    if connection.dialect.name == "sqlite" and connection.execute(_ORPHANS).first() is not None:
        raise RuntimeError("the migration would leave rows that refer to nothing")


def create(connection: Connection) -> None:
    """Create all tables in an empty database."""
    metadata.create_all(connection, checkfirst=False)
    _VERSION.create(connection)
    connection.execute(_VERSION.insert().values(version_num=expected_revision()))


def upgrade(connection: Connection) -> None:
    """Apply every pending migration."""
    from alembic import command  # noqa: PLC0415 - see above

    command.upgrade(configuration(connection), "head")


def _refuse_unknown(current: str) -> None:
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - see above
    from alembic.util import CommandError  # noqa: PLC0415 - see above

    try:
        ScriptDirectory.from_config(configuration()).get_revision(current)
    except CommandError:
        raise NewerDatabaseError(
            f"this database was written by a newer version of Perdure (revision {current}): "
            "install that version, or use another database"
        ) from None
