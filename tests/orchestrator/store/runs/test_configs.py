"""Run configurations: every version kept, races settled, runs measured."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.store import tables
from tests.support.stage import Stage, calls_for, text_of


async def _put(stage: Stage, config_id: str, name: str) -> int:
    content = f'{{"name":"{name}"}}'
    record = await stage.store.run_configs.put(stage.cluster_id, config_id, name, content)
    return record.version


async def test_every_edit_keeps_the_version_before(stage: Stage) -> None:
    configs = stage.store.run_configs
    first = await configs.create(stage.cluster_id, "growth", "one", '{"name":"one"}')
    assert [await _put(stage, "growth", name) for name in ("two", "three")] == [2, 3]

    now = await configs.get(stage.cluster_id, "growth")

    assert (now.version, now.name, now.created_at) == (3, "three", first.created_at)
    before = await configs.versions_before(now)
    assert [(old.version, old.name) for old in before] == [(2, "two"), (1, "one")]
    assert (await configs.get(stage.cluster_id, "growth", 2)).content == '{"name":"two"}'
    with pytest.raises(NotFoundError, match="version 4"):
        await configs.get(stage.cluster_id, "growth", 4)


async def test_one_of_two_who_make_the_same_one_makes_it(stage: Stage, elsewhere: Stage) -> None:
    made = await asyncio.gather(
        *(
            one.store.run_configs.create(stage.cluster_id, "growth", "x", "{}")
            for one in (stage, elsewhere)
        ),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in made) == ["ConflictError", "RunConfigRecord"]


async def test_edits_at_once_are_versions_one_after_the_other(
    stage: Stage, elsewhere: Stage
) -> None:
    edits = [_put(one, "growth", f"n{n}") for n in range(5) for one in (stage, elsewhere)]
    assert sorted(await asyncio.gather(*edits)) == list(range(1, 11))
    now = await stage.store.run_configs.get(stage.cluster_id, "growth")
    assert len(await stage.store.run_configs.versions_before(now)) == 9


async def test_a_deleted_one_is_gone_but_its_runs_know_it(stage: Stage) -> None:
    configs = stage.store.run_configs
    await _put(stage, "growth", "one")
    ref = await stage.run(config_id="growth", config_version=1)

    await configs.delete(stage.cluster_id, "growth")

    for version in (None, 1):
        with pytest.raises(NotFoundError):
            await configs.get(stage.cluster_id, "growth", version)
    with pytest.raises(NotFoundError):
        await configs.delete(stage.cluster_id, "growth")
    assert await configs.page(stage.cluster_id, after="", limit=10) == []
    run = await stage.get_run(ref)
    assert (run.config_id, run.config_version) == ("growth", 1)
    assert (await configs.create(stage.cluster_id, "growth", "again", "{}")).version == 2
    with pytest.raises(ConflictError):
        await configs.create(stage.cluster_id, "growth", "again", "{}")


async def test_another_cluster_knows_nothing_of_it(stage: Stage) -> None:
    await _put(stage, "growth", "ours")
    theirs = await stage.store.keys.ensure_cluster("theirs")
    configs = stage.store.run_configs
    with pytest.raises(NotFoundError):
        await configs.get(theirs, "growth")
    with pytest.raises(NotFoundError):
        await configs.delete(theirs, "growth")
    assert (await configs.create(theirs, "growth", "theirs", "{}")).version == 1
    assert (await configs.get(stage.cluster_id, "growth")).name == "ours"
    assert [one.name for one in await configs.page(theirs, after="", limit=10)] == ["theirs"]


async def test_its_runs_are_measured_without_the_tests(stage: Stage) -> None:
    await stage.register("query")
    await _put(stage, "growth", "one")
    ref = await stage.run(config_id="growth", config_version=1)
    orders = (await stage.think(ref, calls_for("sales_query", "sales_query"))).orders
    await stage.lease_and_finish(ref, orders[0].call_id)
    await stage.alter(tables.calls, tables.calls.c.id == orders[1].call_id, status="failure")
    await stage.alter(tables.runs, feedback_score=0.5, cost_micros=70)
    await stage.run(config_id="growth", config_version=1, test=True)
    await stage.run(config_id="another")

    (measured,) = await stage.store.run_configs.measured(stage.cluster_id, "growth")

    assert (measured.id, measured.config_version, measured.status) == (ref.run_id, 1, "running")
    assert (measured.calls, measured.failed_calls, measured.tokens) == (2, 1, 20)
    assert (measured.feedback_score, measured.cost_micros) == (0.5, 70)
    assert measured.finished_at is None


async def test_a_run_that_called_nothing_is_measured_too(stage: Stage) -> None:
    ref = await stage.run(config_id="growth")
    await stage.think(ref, text_of("done"))
    (measured,) = await stage.store.run_configs.measured(stage.cluster_id, "growth")
    assert (measured.calls, measured.failed_calls, measured.status) == (0, 0, "done")
    assert measured.finished_at is not None
