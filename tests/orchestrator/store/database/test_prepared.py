"""Statements that are executed on the driver itself: what they bring, and that nothing of theirs is lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import Engine, bindparam, event, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from orchestrator.store.database.engine import Database, Write
from orchestrator.store.database.prepared import prepared, prepared_inline
from orchestrator.store.migrations.runner import migrate
from orchestrator.store.tables import calls, clusters
from tests.support.stage import Stage

_INSERT = prepared_inline(insert(clusters))
_RENAME = prepared_inline(update(clusters).where(clusters.c.id == bindparam("of_cluster")))
_NAME = prepared_inline(select(clusters.c.name).where(clusters.c.id == bindparam("of_cluster")))
_ALL_CALLS = prepared(select(calls).order_by(calls.c.key))
_COUNT = select(func.count()).select_from(clusters)


def _row(name: str) -> dict[str, object]:
    return {"id": name, "name": name, "created_at": 0}


async def _names(database: Database) -> list[str]:
    async with database.read() as read:
        return list((await read.execute(select(clusters.c.name).order_by(clusters.c.id))).scalars())


@pytest.fixture
async def base(database: Database) -> Database:
    await migrate(database)
    return database


async def test_one_sees_what_was_written_before_it_whoever_wrote(base: Database) -> None:
    async with base.write() as write:
        await write.execute(_INSERT, [_row("a"), _row("b")])
        assert (await write.execute(_COUNT)).scalar_one() == 2
        await write.execute(insert(clusters).values(_row("c")))
        await write.execute(_RENAME, {"of_cluster": "c", "name": "renamed"})
        assert (await write.execute(_NAME, {"of_cluster": "c"})).scalar_one() == "renamed"
        await write.upsert(clusters, {"id": "c"}, _row("c") | {"name": "upserted"}, update=["name"])
        assert (await write.execute(_NAME, {"of_cluster": "c"})).scalar_one() == "upserted"
        await write.execute(_RENAME, {"of_cluster": "a", "name": "last"})
    assert await _names(base) == ["last", "b", "upserted"]


async def _twice(write: Write) -> None:
    await write.execute(_INSERT, _row("a"))
    await write.execute(_INSERT, _row("a"))


@pytest.mark.parametrize("after", ["nothing", "a read", "another library's statement"])
async def test_a_mistake_undoes_the_transaction_whenever_it_is_reported(
    base: Database, after: str
) -> None:
    async def work(write: Write) -> None:
        await _twice(write)
        if after == "a read":
            await write.execute(_NAME, {"of_cluster": "a"})
        elif after != "nothing":
            await write.execute(_COUNT)

    with pytest.raises(IntegrityError) as caught:
        await base.transact(work)
    assert not caught.value.connection_invalidated
    assert "'a'" not in str(caught.value), "what users sent stays out of the error's text"
    if not base.plain_sql:
        assert "a" not in str(caught.value.params), "and out of the error"
    assert await _names(base) == []
    async with base.write() as write:
        await write.execute(_INSERT, _row("b"))
    assert await _names(base) == ["b"]


async def test_a_mistake_of_ones_own_undoes_what_is_still_under_way(base: Database) -> None:
    async def work(write: Write) -> None:
        await write.execute(_INSERT, _row("a"))
        if base.dialect == "postgresql" and not base.plain_sql:  # its error is not received yet
            await write.execute(_INSERT, _row("a"))
        raise RuntimeError("of my own")

    with pytest.raises(RuntimeError, match="of my own"):
        await base.transact(work)
    assert await _names(base) == []


async def test_who_is_cancelled_anywhere_has_written_all_or_nothing(base: Database) -> None:
    async def work(number: int) -> None:
        async with base.write() as write:
            await write.execute(_INSERT, _row(f"{number}-first"))
            await write.execute(_NAME, {"of_cluster": f"{number}-first"})
            await write.execute(_INSERT, _row(f"{number}-second"))

    for number in range(30):
        working = asyncio.create_task(work(number))
        for _ in range(number):
            await asyncio.sleep(0)
        working.cancel()
        (ended,) = await asyncio.gather(working, return_exceptions=True)
        assert ended is None or isinstance(ended, asyncio.CancelledError)
        await work(1_000 + number)
    found = await _names(base)
    assert len(found) >= 60
    assert {name.replace("first", "second") for name in found if "first" in name} == {
        name for name in found if "second" in name
    }


async def test_a_lost_connection_is_noticed_and_the_work_done_again(base: Database) -> None:
    tries: list[int] = []

    async def work(write: Write) -> None:
        tries.append(1)
        await write.execute(_INSERT, _row("a"))
        if base.dialect == "postgresql" and len(tries) == 1:
            await write.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        await write.execute(_INSERT, _row("b"))

    await base.transact(work)
    assert await _names(base) == ["a", "b"]
    assert len(tries) == (1 if base.dialect == "sqlite" else 2)


async def test_a_connection_that_is_lost_while_nothing_is_waited_for_is_discarded(
    base: Database,
) -> None:
    if base.dialect == "sqlite":
        return  # there is nothing between
    writes: list[Write] = []

    async def work() -> None:
        async with base.write() as write:
            writes.append(write)
            pid = (await write.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            await write.execute(_INSERT, _row("a"))
            async with base.read() as read:
                await read.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            await write.execute(_INSERT, _row("b"))

    with pytest.raises(DBAPIError) as caught:
        await work()
    assert caught.value.connection_invalidated
    assert not writes[0].committing, "so it may be done again"
    assert await _names(base) == []


async def test_one_statement_alone_reports_how_many_rows_it_changed(base: Database) -> None:
    async with base.write() as write:
        await write.execute(_INSERT, _row("a"))
    assert await base.write_one(_RENAME, {"of_cluster": "a", "name": "renamed"}) == 1
    assert await base.write_one(_RENAME, {"of_cluster": "b", "name": "renamed"}) == 0
    assert await _names(base) == ["renamed"]


async def test_rows_are_what_sqlalchemy_makes_of_them(stage: Stage) -> None:
    ref = await stage.run()
    await stage.register("query")
    (order,) = await stage.called(ref)
    await stage.lease(ref, order.call_id)
    async with stage.store.database.read() as read:
        ours = (await read.execute(_ALL_CALLS)).mappings().all()
        theirs = (await read.execute(select(calls).order_by(calls.c.key))).mappings().all()
    assert [dict(row) for row in ours] == [dict(row) for row in theirs]

    def kinds(row: Mapping[Any, object]) -> list[str]:
        return [type(value).__name__ for value in row.values()]

    assert kinds(ours[0]) == kinds(theirs[0])
    assert {"bool", "bytes", "int", "str"} <= set(kinds(ours[0]))


@pytest.mark.parametrize(
    "statement",
    [
        prepared_inline(select(clusters.c.name).where(clusters.c.id.in_(["a", "b"]))),
        prepared_inline(text("SELECT 1")),
    ],
    ids=["a list of any length", "words"],
)
async def test_an_unsuitable_statement_is_refused_at_its_first_execution(
    base: Database, statement: Any
) -> None:
    if base.plain_sql:  # SQLAlchemy executes it
        async with base.read() as read:
            assert (await read.execute(statement)).all() in ([], [(1,)])
        return
    with pytest.raises(TypeError, match=r"cannot be executed on the driver|at each execution"):
        async with base.read() as read:
            await read.execute(statement)


async def test_plain_sql_executes_every_statement_through_sqlalchemy(base: Database) -> None:
    seen: list[str] = []

    def record(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement.split(maxsplit=1)[0])

    event.listen(Engine, "before_cursor_execute", record)
    try:
        async with base.write() as write:
            await write.execute(_INSERT, _row("a"))
        async with base.read() as read:
            await read.execute(_NAME, {"of_cluster": "a"})
        async with base.read_inline() as read:
            await read.execute(_NAME, {"of_cluster": "a"})
        await base.write_one(_RENAME, {"of_cluster": "a", "name": "renamed"})
    finally:
        event.remove(Engine, "before_cursor_execute", record)
    assert seen == (["INSERT", "SELECT", "SELECT", "UPDATE"] if base.plain_sql else [])
