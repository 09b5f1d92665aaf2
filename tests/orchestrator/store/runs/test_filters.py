"""Lists of runs, by any combination of what marks them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from orchestrator.store.runs.filters import RunFilter
from tests.support.stage import Stage

_TEXT = st.text(
    alphabet=st.sampled_from(
        ["'", '"', ":", "\\", "%", "_", "ß", "日", "👍", "🏽", "a", " ", "\n"]
    ),
    min_size=1,
    max_size=5,
)
_PAIRS = st.dictionaries(_TEXT, _TEXT, max_size=4)


async def _found(stage: Stage, wanted: RunFilter) -> set[str]:
    return {run.id for run in await stage.store.runs.page(stage.cluster_id, wanted)}


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(made=st.lists(_PAIRS, min_size=1, max_size=3), asked=_PAIRS)
async def test_any_combination_of_pairs_finds_what_has_them_all(
    stage: Stage, made: list[dict[str, str]], asked: dict[str, str]
) -> None:
    earlier = await _found(stage, RunFilter(limit=1_000))
    runs = {(await stage.run(metadata=pairs)).run_id: pairs for pairs in made}
    some = dict(list(made[0].items())[:2])
    for wanted in (asked, some):
        found = await _found(stage, RunFilter(metadata=tuple(wanted.items()), limit=1_000))
        expected = {run for run, pairs in runs.items() if wanted.items() <= pairs.items()}
        assert found - earlier == expected


async def test_all_tags_asked_for_must_be_there(stage: Stage) -> None:
    both = (await stage.run(tags=["q3", 'it\'s "x": 👍'])).run_id
    one = (await stage.run(tags=["q3"])).run_id
    await stage.run()
    assert await _found(stage, RunFilter(tags=("q3",))) == {both, one}
    assert await _found(stage, RunFilter(tags=("q3", 'it\'s "x": 👍'))) == {both}
    assert await _found(stage, RunFilter(tags=("Q3",))) == set()


async def test_test_runs_are_hidden_unless_asked_for(stage: Stage) -> None:
    real, test = (await stage.run()).run_id, (await stage.run(test=True)).run_id
    assert await _found(stage, RunFilter()) == {real}
    assert await _found(stage, RunFilter(test=True)) == {test}
    assert await _found(stage, RunFilter(test=None)) == {real, test}


@pytest.mark.parametrize("kind", ["call", "structured"])
async def test_hidden_kinds_are_in_no_list(stage: Stage, kind: str) -> None:
    await stage.run(kind=kind)
    assert await _found(stage, RunFilter(test=None)) == set()


async def test_runs_are_found_by_configuration_and_by_token(stage: Stage) -> None:
    configured = (await stage.run(config_id="growth", auth_token_hash="a" * 64)).run_id
    await stage.run(auth_token_hash="b" * 64)
    assert await _found(stage, RunFilter(config_id="growth")) == {configured}
    assert await _found(stage, RunFilter(auth_token_hash="a" * 64)) == {configured}


async def test_a_run_keeps_all_that_was_asked(stage: Stage) -> None:
    ref = await stage.run(
        tags=["b", "a"],
        mocks={"sales_query": [1, None]},
        priority=1,
        deadline_at=2**45,
        reasoning_traces=False,
        auth_context={"user": "u1"},
        test=True,
        name_source="words",
    )
    run = await stage.get_run(ref)
    assert (run.tags, run.mocks) == ('["b","a"]', '{"sales_query":[1,null]}')
    assert (run.priority, run.deadline_at, run.reasoning_traces) == (1, 2**45, False)
    assert (run.auth_context, run.test, run.name_source) == ('{"user":"u1"}', True, "words")
