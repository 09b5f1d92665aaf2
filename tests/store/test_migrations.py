"""From nothing to the tables of `tables.py`, on both databases, whoever else is starting at the same moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, select, text

from orchestrator.store.engine import open_database
from orchestrator.store.migrate import (
    NewerDatabaseError,
    configuration,
    expected_revision,
    migrate,
    revision,
)
from orchestrator.store.tables import clusters, metadata

StartPeer = Callable[..., Awaitable[Any]]


def _differences(connection: Connection) -> list[Any]:
    options = {"compare_type": True, "compare_server_default": True}
    context = MigrationContext.configure(connection, opts=options)
    return list(compare_metadata(context, metadata))


def _table_names(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


async def test_an_empty_database_gets_every_table(empty_database_url: str) -> None:
    database = await open_database(empty_database_url)
    assert await revision(database) is None
    await migrate(database)
    assert await revision(database) == expected_revision()
    async with database.read() as read:
        names = await read.run_sync(_table_names)
    assert names == metadata.tables.keys() | {"alembic_version"}
    await database.aclose()


async def test_migrations_and_tables_agree_to_the_last_index(empty_database_url: str) -> None:
    database = await open_database(empty_database_url)
    await migrate(database)
    async with database.write() as write:
        assert await write.run_sync(_differences) == []
    await database.aclose()


async def test_a_table_that_no_migration_knows_would_be_noticed(database_url: str) -> None:
    database = await open_database(database_url)
    async with database.write() as write:
        await write.execute(text("DROP TABLE registrations"))
        assert await write.run_sync(_differences) != []
    await database.aclose()


async def test_migrating_again_changes_nothing(database_url: str) -> None:
    database = await open_database(database_url)
    async with database.write() as write:
        await write.upsert(clusters, {"id": "c"}, {"name": "c", "created_at": 0}, update=["name"])
    await migrate(database)
    async with database.read() as read:
        assert (await read.execute(select(clusters.c.id))).scalars().all() == ["c"]
    await database.aclose()


async def test_processes_that_start_together_migrate_once(
    empty_database_url: str, peer: StartPeer
) -> None:
    names = ["a", "b", "c"]
    peers = [await peer("migrate_and_use", empty_database_url, name) for name in names]
    for each in peers:
        await each.hears()
    for each in peers:
        await each.says("done")
        assert await each.leaves() == 0
    database = await open_database(empty_database_url)
    async with database.read() as read:
        found = (await read.execute(select(clusters.c.id).order_by(clusters.c.id))).scalars().all()
    assert found == names
    await database.aclose()


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(database_url: str) -> None:
    database = await open_database(database_url)
    async with database.write() as write:
        await write.execute(text("UPDATE alembic_version SET version_num = 'from-the-future'"))
    with pytest.raises(NewerDatabaseError, match=r"written by a newer version .*from-the-future"):
        await migrate(database)
    assert await revision(database) == "from-the-future"
    await database.aclose()


async def test_every_migration_can_be_undone(database_url: str) -> None:
    database = await open_database(database_url)
    async with database.write() as write:
        await write.run_sync(
            lambda connection: command.downgrade(configuration(connection), "base")
        )
        assert await write.run_sync(_table_names) == {"alembic_version"}
    await migrate(database)
    assert await revision(database) == expected_revision()
    await database.aclose()
