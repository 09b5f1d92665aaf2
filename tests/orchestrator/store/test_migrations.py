"""From nothing to the tables of `tables.py`, on both databases, whoever else is starting at the same moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, select, text

from orchestrator.store import tables
from orchestrator.store.database.engine import open_database
from orchestrator.store.migrations.runner import (
    NewerDatabaseError,
    configuration,
    expected_revision,
    migrate,
    revision,
    upgrade,
)
from orchestrator.store.runs.options import stored_options
from orchestrator.store.store import Store
from orchestrator.store.tables import clusters, metadata
from orchestrator.workflows.interface import RunRef
from perdure.contract import Budget, RunOptions

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


def test_the_number_of_the_last_file_is_alembics_head() -> None:
    assert expected_revision() == ScriptDirectory.from_config(configuration()).get_current_head()


async def test_migrations_and_tables_agree_to_the_last_index(empty_database_url: str) -> None:
    database = await open_database(empty_database_url)
    async with database.write() as write:
        await write.run_sync(upgrade)
    assert await revision(database) == expected_revision()
    async with database.write() as write:
        assert await write.run_sync(_differences) == []
    await database.aclose()


def _form(connection: Connection) -> dict[str, object]:
    """Everything that can be seen of the tables, whatever order it was made in."""
    seen = inspect(connection)
    return {
        table: [
            sorted(map(repr, parts))
            for parts in (
                [{**column, "type": str(column["type"])} for column in seen.get_columns(table)],
                [seen.get_pk_constraint(table)],
                seen.get_foreign_keys(table),
                seen.get_unique_constraints(table),
                seen.get_check_constraints(table),
                [{**each, "dialect_options": _texts(each)} for each in seen.get_indexes(table)],
            )
        ]
        for table in seen.get_table_names()
    }


def _texts(index: Any) -> dict[str, str]:
    return {name: str(value) for name, value in index.get("dialect_options", {}).items()}


async def test_an_empty_database_gets_what_all_migrations_together_make(
    empty_database_url: str,
) -> None:
    database = await open_database(empty_database_url)
    await migrate(database)
    async with database.write() as write:
        made_at_once = await write.run_sync(_form)
        await write.run_sync(lambda each: command.downgrade(configuration(each), "base"))
        await write.run_sync(upgrade)
        assert await write.run_sync(_form) == made_at_once
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
        await each.send_line()
    for each in peers:
        await each.expect("done")
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


_OF_THE_FIRST_RELEASE = (
    "INSERT INTO clusters (id, name, created_at) VALUES ('c', 'default', 1)",
    (
        "INSERT INTO api_keys (id, cluster_id, name, key_hash, created_at)"
        " VALUES ('k', 'c', 'old', 'hash', 1)"
    ),
    (
        "INSERT INTO runs (key, cluster_id, id, name, model, request_hash, status, created_at, updated_at)"
        " VALUES (7, 'c', 'r', 'old', 'scripted/inline', 'h', 'pending', 1, 1)"
    ),
    (
        "INSERT INTO messages (run_key, id, turn, type, data, created_at)"
        " VALUES (7, 'm', 1, 'human', '{\"message\":\"Hello\"}', 1)"
    ),
    (
        "INSERT INTO calls (run_key, id, cluster_id, kind, service, function, input, max_attempts,"
        " timeout_ms, deadline_ms, status, created_at)"
        " VALUES (7, 'call', 'c', 'function', 's', 'f', '{}', 1, 1, 1, 'pending', 1)"
    ),
)


async def test_what_the_first_release_stored_is_still_there(database_url: str) -> None:
    database = await open_database(database_url)
    async with database.write() as write:
        await write.run_sync(
            lambda connection: command.downgrade(configuration(connection), "0001")
        )
        for statement in _OF_THE_FIRST_RELEASE:
            await write.execute(text(statement))
    await migrate(database)
    store = Store(database)
    run = await store.runs.get(RunRef("c", "r"))
    assert (run.name, run.kind, run.test, run.priority) == ("old", "run", False, 3)
    key = await store.keys.identify("hash")
    assert key is not None
    assert key.scopes == "admin,client,machine"
    async with database.read() as read:
        messages = (await read.execute(select(tables.messages.c.data))).scalars().all()
        calls = (await read.execute(select(tables.calls.c.id))).scalars().all()
    assert (messages, calls) == (['{"message":"Hello"}'], ["call"])
    await database.aclose()


_INSERT_AT_0006 = text(
    "INSERT INTO runs (cluster_id, id, name, model, request_hash, status, created_at, updated_at,"
    " system_prompt, metadata, tags, interactive, priority, budget)"
    " VALUES ('c', :id, 'old', 'scripted/inline', 'h', 'pending', 1, 1,"
    """ 'Be brief.', '{"team"\\:"sales"}', '["a"]', false, 1, '{"tokens"\\:5}')"""
)


async def test_a_run_keeps_its_options_when_the_column_of_the_others_is_added(
    database_url: str,
) -> None:
    database = await open_database(database_url)
    async with database.write() as write:
        await write.run_sync(
            lambda connection: command.downgrade(configuration(connection), "0006")
        )
        await write.execute(text(_OF_THE_FIRST_RELEASE[0]))
        await write.execute(_INSERT_AT_0006, {"id": "before"})
    await migrate(database)
    async with database.write() as write:  # a process of the version before is still running
        await write.execute(_INSERT_AT_0006, {"id": "after"})
    store = Store(database)
    for run_id in ("before", "after"):
        run = await store.runs.get(RunRef("c", run_id))
        assert run.options is None
        assert RunOptions.model_validate(stored_options(run)) == RunOptions(
            system_prompt="Be brief.",
            metadata={"team": "sales"},
            tags=["a"],
            interactive=False,
            priority=1,
            budget=Budget(tokens=5),
        )
    await database.aclose()
