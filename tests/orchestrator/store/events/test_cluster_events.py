"""Events over all runs, machines, notes on functions, and the audit trail, as the cluster's owner reads them."""

from __future__ import annotations

import pytest

from orchestrator.errors import NotFoundError
from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from orchestrator.store.database.json_columns import object_from_json
from orchestrator.store.events.cluster_events import EventFilter
from orchestrator.store.tenants.audit_log import AuditEntry
from tests.support.stage import Stage, text_of


async def test_events_of_all_runs_come_newest_first_and_page_without_gap(stage: Stage) -> None:
    other = Stage(stage.store, await stage.store.keys.ensure_cluster("other"))
    await other.finished()
    runs = [await stage.finished() for _ in range(3)]
    everything = await stage.store.events.page(stage.cluster_id, EventFilter(limit=1_000))
    expected = {
        (ref.run_id, n) for ref in runs for n in range(1, (await stage.get_run(ref)).version + 1)
    }
    assert {(run_id, event.version) for run_id, event in everything} == expected
    times = [event.created_at for _, event in everything]
    assert times == sorted(times, reverse=True)
    paged: list[tuple[str, int]] = []
    before: tuple[int, int, int] | None = None
    while page := await stage.store.events.page(
        stage.cluster_id, EventFilter(before=before, limit=2)
    ):
        paged += [(run_id, event.version) for run_id, event in page]
        last = page[-1][1]
        before = (last.created_at, last.run_key, last.version)
    assert paged == [(run_id, event.version) for run_id, event in everything]


async def test_what_is_new_of_a_run_comes_with_how_it_stands(stage: Stage) -> None:
    other, ref = await stage.run(), await stage.run()
    key, news = (await stage.get_run(ref)).key, stage.store.events.new_events
    fresh = await news(key, after=0, limit=10)
    assert fresh is not None
    assert (fresh.version, fresh.is_final) == (1, False)
    assert fresh.events == await stage.store.runs.events(ref, after=0, limit=10)
    nothing = await news(key, after=1, limit=10)
    assert nothing is not None
    assert (nothing.version, nothing.is_final, nothing.events) == (1, False, [])
    await stage.think(ref, text_of("the answer"))
    first = await news(key, after=1, limit=1)
    assert first is not None
    assert [event.version for event in first.events] == [2]
    assert first.is_final
    assert first.version == (await stage.get_run(ref)).version > 2
    await stage.store.deletion.delete(ref)
    assert await news(key, after=0, limit=10) is None
    assert await news((await stage.get_run(other)).key, after=0, limit=10) is not None


async def test_events_are_found_by_what_they_name(stage: Stage) -> None:
    await stage.register("query", machine="m1")
    first, second = await stage.run(), await stage.run()
    (one,) = await stage.called(first)
    (two,) = await stage.called(second)
    await stage.lease(first, one.call_id, machine="m1")
    await stage.lease(second, two.call_id, machine="M1")

    async def found(**wanted: str) -> set[tuple[str, str]]:
        page = await stage.store.events.page(stage.cluster_id, EventFilter(**wanted, limit=100))  # type: ignore[arg-type]
        return {(run_id, event.type) for run_id, event in page}

    assert await found(type="run.created", run_id=first.run_id) == {(first.run_id, "run.created")}
    assert {run_id for run_id, _ in await found(run_id=first.run_id)} == {first.run_id}
    of_call = await found(call_id=two.call_id)
    assert (second.run_id, "call.started") in of_call
    assert {run_id for run_id, _ in of_call} == {second.run_id}
    assert await found(machine_id="m1") == {(first.run_id, "call.started")}, "case counts"
    assert await found(machine_id="m_") == set(), "nothing is a wildcard"
    assert await found(run_id="unknown") == set()
    assert await found(call_id="unknown") == set()


async def test_events_name_the_service_that_was_called(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run()
    await stage.called(ref)
    page = await stage.store.events.page(
        stage.cluster_id, EventFilter(service="sales", type="call.created")
    )
    assert [object_from_json(event.data)["service"] for _, event in page] == ["sales"]
    none = await stage.store.events.page(stage.cluster_id, EventFilter(service="sale"))
    assert none == []


async def test_a_machine_is_listed_with_where_it_is_and_when_it_was_seen(stage: Stage) -> None:
    functions, machines = stage.store.functions, stage.store.machines
    now = now_ms()
    for name, alive_until, ip in (("m1", now + 60_000, "10.0.0.1"), ("m2", now - 1, None)):
        await functions.touch(
            stage.cluster_id, name, heartbeats=True, alive_until=alive_until, ip=ip, sdk="python 1"
        )
    await functions.touch(stage.cluster_id, "m1", heartbeats=True, alive_until=now + 60_000)
    listed = await machines.page(stage.cluster_id, before=None, alive_at=None, limit=10)
    assert {(one.id, one.ip, one.sdk) for one in listed} == {
        ("m1", "10.0.0.1", "python 1"),
        ("m2", None, "python 1"),
    }
    assert all(one.last_seen_at is not None and one.last_seen_at >= now for one in listed)
    alive = await machines.page(stage.cluster_id, before=None, alive_at=now, limit=10)
    assert [one.id for one in alive] == ["m1"]
    await stage.alter(tables.machines, created_at=5)
    pages = [
        await machines.page(stage.cluster_id, before=before, alive_at=None, limit=1)
        for before in (None, (5, "m2"), (5, "m1"))
    ]
    assert [[one.id for one in page] for page in pages] == [["m2"], ["m1"], []]
    other = await stage.store.keys.ensure_cluster("other")
    assert await machines.page(other, before=None, alive_at=None, limit=10) == []


async def test_a_note_on_a_function_is_written_over_read_and_deleted(stage: Stage) -> None:
    notes = stage.store.notes
    other = await stage.store.keys.ensure_cluster("other")
    await notes.put(stage.cluster_id, "sales", "query", "Orders are in cents.")
    await notes.put(stage.cluster_id, "sales", "query", "Orders are in euros.")
    found = await notes.get(stage.cluster_id, "sales", "query")
    assert found.additional_context == "Orders are in euros."
    for work in (
        notes.get(other, "sales", "query"),
        notes.delete(other, "sales", "query"),
        notes.get(stage.cluster_id, "sales", "Query"),
    ):
        with pytest.raises(NotFoundError, match="no note"):
            await work
    await notes.delete(stage.cluster_id, "sales", "query")
    with pytest.raises(NotFoundError):
        await notes.get(stage.cluster_id, "sales", "query")


async def test_audit_entries_are_read_newest_first_by_their_own_cluster(stage: Stage) -> None:
    other = await stage.store.keys.ensure_cluster("other")

    def note(cluster_id: str, number: int) -> AuditEntry:
        return AuditEntry(cluster_id, "ci 01ABC", "create_run", f"runs/{number}", 201, number)

    await stage.store.audit.add([note(stage.cluster_id, 1), note(other, 2)])
    await stage.store.audit.add([note(stage.cluster_id, 3)])
    first = await stage.store.audit.page(stage.cluster_id, before=None, limit=1)
    rest = await stage.store.audit.page(stage.cluster_id, before=first[0].key, limit=5)
    assert [one.target for one in [*first, *rest]] == ["runs/3", "runs/1"]
    assert (first[0].actor, first[0].status, first[0].created_at) == ("ci 01ABC", 201, 3)
