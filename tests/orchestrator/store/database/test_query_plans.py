"""What the sweeper asks every two seconds, and what lists ask, is answered from an index made for it.

So its cost does not grow with the runs that wait for a person, or with those that ended long ago.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event, insert, text

from orchestrator.store import tables
from orchestrator.store.calls import rows as call_rows
from orchestrator.store.conversation import steps
from orchestrator.store.database.engine import Database
from orchestrator.store.runs.filters import RunFilter
from orchestrator.store.store import Store
from tests.orchestrator.store.conftest import run_row

Question = Callable[[Store], Awaitable[object]]

_WAITING = 2_000
_LATER = 2**50
_PAGE = RunFilter(before=(_WAITING // 2, _WAITING // 2))

QUESTIONS: Mapping[str, tuple[Question, str]] = {
    "unread": (lambda store: store.sweeps.runs_with_unread_requests(_LATER), "ix_runs_unheard"),
    "stuck": (lambda store: store.sweeps.stalled_runs(), "ix_runs_at_work"),
    "at work": (lambda store: store.lost_leases.active_runs(500), "ix_runs_at_work"),
    "untaken calls": (lambda store: store.sweeps.calls_without_worker(_LATER), "ix_calls_open"),
    "lost leases": (lambda store: store.lost_leases.find_unconfirmed(), "ix_calls_open"),
    "to be parked": (lambda store: store.sweeps.suspend(), "ix_runs_waiting"),
    "to be unparked": (lambda store: store.sweeps.resume_suspended(), "ix_runs_waiting"),
    "deadlines": (lambda store: store.deadlines.overdue(), "ix_runs_deadline"),
    "expired requests": (lambda store: store.approvals.overdue(), "ix_calls_approval"),
    "deliveries": (lambda store: store.sweeps.undelivered_runs(_LATER), "ix_deliveries_open"),
    "outdated": (lambda store: store.deletion.outdated(_LATER), "ix_runs_finished"),
    "requests": (lambda store: store.approvals.page("d", after=0, limit=51), "ix_calls_asked"),
    "a page": (lambda store: store.runs.page("c", _PAGE), "ix_runs_cluster_created"),
}


@contextmanager
def _statements(database: Database) -> Generator[list[tuple[str, Any]]]:
    seen: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        seen.append((statement, parameters))

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def _plan(database: Database, statement: str, parameters: Any) -> str:
    explain = "EXPLAIN QUERY PLAN" if database.dialect == "sqlite" else "EXPLAIN"
    async with database.engine.connect() as connection:
        if database.dialect == "postgresql":  # whose taste depends on when it last counted the rows
            await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        found = await connection.exec_driver_sql(f"{explain} {statement}", parameters)
        return "\n".join(str(row[-1]) for row in found)


def _call_row(run_key: int) -> dict[str, object]:
    return {
        "run_key": run_key,
        "id": f"call-{run_key}",
        "cluster_id": "c",
        "kind": "function",
        "service": "sales",
        "function": "query",
        "input": "{}",
        "max_attempts": 1,
        "timeout_ms": 1_000,
        "deadline_ms": 1_000,
        "status": "interrupted",
        "approval_expires_at": _LATER,
        "created_at": 0,
    }


async def _many_wait(database: Database) -> None:
    """Runs that wait for a person. PostgreSQL knows how many; SQLite never knows in production either."""
    keys = range(1, _WAITING + 1)
    async with database.write() as write:
        for cluster_id in ("c", "d"):
            row = {"id": cluster_id, "name": cluster_id, "created_at": 0}
            await write.execute(insert(tables.clusters).values(**row))
        paused = {"status": "paused", "paused_for": "approval"}
        runs = [run_row(key) | paused | {"created_at": key} for key in keys]
        await write.execute(insert(tables.runs), runs)
        await write.execute(insert(tables.calls), [_call_row(key) for key in keys])
        if database.dialect == "postgresql":
            await write.execute(text("ANALYZE runs"))
            await write.execute(text("ANALYZE calls"))


async def test_each_question_is_answered_from_its_index(database: Database, store: Store) -> None:
    await _many_wait(database)
    for name, (ask, index) in QUESTIONS.items():
        with _statements(database) as seen:
            await ask(store)
        (asked,) = [one for one in seen if one[0].startswith("SELECT")]
        plan = await _plan(database, *asked)
        assert f"{index} " in plan, f"{name}\n{plan}"
        assert not any(f"{word} {table}\n" in f"{plan}\n" for word, table in _WHOLE), plan


_WHOLE = [(word, table) for word in ("SCAN", "Seq Scan on") for table in ("runs", "calls")]


async def test_a_page_is_read_from_its_cursor_on(database: Database, store: Store) -> None:
    await _many_wait(database)
    with _statements(database) as seen:
        await store.runs.page("c", _PAGE)
    plan = await _plan(database, *seen[-1])
    assert "created_at<?" in plan or "Index Cond: (((cluster_id)" in plan, plan


async def test_runs_of_deleted_clusters_are_asked_for_only_where_there_are_such_clusters(
    database: Database, store: Store
) -> None:
    with _statements(database) as seen:
        assert await store.clusters.orphans() == []
    assert [statement for statement, _ in seen if "runs" in statement] == []


async def test_what_a_run_has_open_is_found_however_many_calls_it_made(database: Database) -> None:
    await _one_has_called_often(database)
    for statement, given in (
        (call_rows._OPEN, {"of_run": 1}),
        (steps._SELECT_RUN_VIEW, {"of_cluster": "c", "of_run": "run-1"}),
    ):
        with _statements(database) as seen:
            async with database.engine.connect() as connection:
                await connection.execute(statement, given)
        plan = await _plan(database, *seen[0])
        assert "ix_calls_unshown " in plan, plan


async def _one_has_called_often(database: Database) -> None:
    calls = [_call_row(1) | {"id": f"made-{number}", "shown": True} for number in range(_WAITING)]
    async with database.write() as write:
        await write.execute(insert(tables.clusters).values(id="c", name="c", created_at=0))
        await write.execute(insert(tables.runs), [run_row(1)])
        await write.execute(insert(tables.calls), [*calls, _call_row(1) | {"shown": False}])
        if database.dialect == "postgresql":
            await write.execute(text("ANALYZE runs"))
            await write.execute(text("ANALYZE calls"))
