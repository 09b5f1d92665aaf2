"""Usage per day and model, of runs that are there and of runs that were deleted."""

from __future__ import annotations

from datetime import UTC, date, datetime

from sqlalchemy import insert

from orchestrator.runtime.clock import now_ms, to_datetime
from orchestrator.store import tables
from orchestrator.store.tenants.usage import DAY_MS, DayUsage
from tests.support.stage import USAGE, Stage, calls_for, text_of

MODEL = "scripted/inline"


def at(day: str) -> int:
    return int(datetime.fromisoformat(f"{day}T00:00:00").replace(tzinfo=UTC).timestamp() * 1000)


def today() -> date:
    return to_datetime(now_ms()).date()


async def test_nothing_used_is_nothing_listed(stage: Stage) -> None:
    assert await stage.store.usage.days(stage.cluster_id, since=0) == []


async def test_steps_and_runs_are_summed_per_day_and_model(stage: Stage) -> None:
    other = Stage(stage.store, await stage.store.keys.ensure_cluster("other"))
    await other.finished()
    await stage.register("query")
    for _ in range(2):
        ref = await stage.run()
        (order,) = await stage.called(ref)
        await stage.lease_and_finish(ref, order.call_id)
        await stage.think(ref, text_of("done"))
    (found,) = await stage.store.usage.days(stage.cluster_id, since=now_ms())
    assert (found.day, found.model, found.model_calls, found.runs) == (today(), MODEL, 4, 2)
    assert (found.input_tokens, found.output_tokens) == (
        4 * USAGE.input_tokens,
        4 * USAGE.output_tokens,
    )
    assert (found.cache_read_tokens, found.cache_write_tokens) == (
        4 * USAGE.cache_read_tokens,
        4 * USAGE.cache_write_tokens,
    )


async def test_days_are_counted_apart_and_end_at_midnight_utc(stage: Stage) -> None:
    ref = await stage.run()
    await stage.think(ref, calls_for("sales_query"))
    await stage.alter(tables.steps, created_at=at("2026-03-02") - 1, cost_micros=70)
    await stage.alter(tables.runs, created_at=at("2026-03-01"))
    later = await stage.finished()
    key = (await stage.get_run(later)).key
    await stage.alter(tables.steps, tables.steps.c.run_key == key, created_at=at("2026-03-02"))
    await stage.alter(tables.runs, tables.runs.c.key == key, created_at=at("2026-03-02"))
    found = await stage.store.usage.days(stage.cluster_id, since=at("2026-03-01") + DAY_MS // 2)
    assert [(one.day, one.model_calls, one.cost_micros, one.runs) for one in found] == [
        (date(2026, 3, 2), 1, 0, 1),
        (date(2026, 3, 1), 1, 70, 1),
    ]
    newer = await stage.store.usage.days(stage.cluster_id, since=at("2026-03-02"))
    assert [one.day for one in newer] == [date(2026, 3, 2)]


async def test_what_deleted_runs_spent_is_added(stage: Stage) -> None:
    await stage.finished()
    kept = {
        "cluster_id": stage.cluster_id,
        "input_tokens": 1_000,
        "output_tokens": 2_000,
        "cache_read_tokens": 3_000,
        "cache_write_tokens": 4_000,
        "cost_micros": 5_000,
        "model_calls": 6,
    }
    async with stage.store.database.write() as write:
        day = today().isoformat()
        for row in (
            kept | {"day": day, "model": MODEL, "runs": 2},
            kept | {"day": day, "model": "anthropic/claude-opus-5-5"},
            kept | {"day": "2000-01-01", "model": MODEL},
        ):
            await write.execute(insert(tables.usage_days).values(**row))
    found = await stage.store.usage.days(stage.cluster_id, since=now_ms())
    assert found == [
        DayUsage(today(), "anthropic/claude-opus-5-5", 1_000, 2_000, 3_000, 4_000, 5_000, 6, 0),
        DayUsage(today(), MODEL, 1_010, 2_005, 3_003, 4_002, 5_000, 7, 3),
    ]
