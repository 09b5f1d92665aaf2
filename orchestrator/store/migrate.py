"""Brings a database to the form this code expects. One process does it, the others wait until it is done.

There is no `alembic.ini`: the migrations lie in this package, and a connection is handed in. A new one is written with
`python -m orchestrator.store.migrations "what changes"`, then read and corrected by a person.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.store.engine import Database, migration_lock
from orchestrator.store.locks import FileLock
from orchestrator.store.sqlite import open_writer, sqlite_engine

_ADVISORY_LOCK = 0x7065726475  # "perdu": any number that is ours alone
_ORPHANS = text("PRAGMA foreign_key_check")


class NewerDatabaseError(RuntimeError):
    """The database was brought to a form that this code does not know."""


async def migrate(database: Database) -> None:
    """Bring the tables to the newest form; returns when they have it, whoever did the work.

    Everything happens in one transaction: a process that dies half-way leaves the old form. Raises `NewerDatabaseError`
    when a newer version of the program was here before; nothing is changed then.
    """
    if await revision(database) == expected_revision():
        return
    async with _alone(database) as connection, connection.begin():
        await connection.run_sync(_upgrade)


async def revision(database: Database) -> str | None:
    """The revision the database has; None when it is empty."""
    async with database.read() as read:
        return await read.run_sync(_current)


def expected_revision() -> str | None:
    """The revision this code works with."""
    return ScriptDirectory.from_config(configuration()).get_current_head()


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration, complete without a file."""
    config = Config()
    config.set_main_option("script_location", "orchestrator.store:migrations")
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@asynccontextmanager
async def _alone(database: Database) -> AsyncGenerator[AsyncConnection]:
    """A connection on which nobody else changes tables meanwhile: the others wait at the lock."""
    if database.path is None:
        async with database.engine.connect() as connection:
            yield connection
        return
    # Changing a table can mean writing it anew and dropping the old one, which must not cascade: so this connection
    # does not enforce foreign keys; they are checked when all is done.
    engine = sqlite_engine(database.path, readers=0, foreign_keys=False)
    async with FileLock(migration_lock(database.path)).hold():
        try:
            async with aclosing(await open_writer(engine)) as connection:
                yield connection
        finally:
            await engine.dispose()


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _upgrade(connection: Connection) -> None:
    config = configuration(connection)
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
    current = _current(connection)
    if current is not None:
        _refuse_unknown(current, config)
    command.upgrade(config, "head")
    if connection.dialect.name == "sqlite" and connection.execute(_ORPHANS).first() is not None:
        raise RuntimeError("the migration would leave rows that refer to nothing")


def _refuse_unknown(current: str, config: Config) -> None:
    try:
        ScriptDirectory.from_config(config).get_revision(current)
    except CommandError:
        raise NewerDatabaseError(
            f"this database was written by a newer version of Perdure (revision {current}): "
            "install that version, or use another database"
        ) from None
