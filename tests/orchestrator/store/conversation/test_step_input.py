"""What a run's model receives and may call, and what functions answer in a test run, on both databases."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator.errors import NotFoundError
from orchestrator.llm.builtin_tools import BUILT_IN_TOOLS
from orchestrator.llm.messages import ModelResponse, StopReason, ToolCall
from orchestrator.llm.prompts import (
    CALCULATE_TOOL,
    GIVE_UP_TOOL,
    REASON_PARAMETER,
    RESULT_TOOL,
    TIME_TOOL,
)
from orchestrator.store import tables
from orchestrator.store.database.json_columns import from_json
from orchestrator.workflows.interface import RunRef
from perdure.contract import INLINE_RESULT_CHARACTERS, FunctionConfig, FunctionReference
from tests.support.stage import Stage, calls_for, text_of

PERDURE_TIME = FunctionReference(service="perdure", function="current_time")


def _functions(*names: str) -> list[FunctionReference]:
    return [FunctionReference(service="sales", function=name) for name in names]


async def _offered(stage: Stage, **changes: Any) -> tuple[list[str], frozenset[str]]:
    question = await stage.begin_step(await stage.run(**changes))
    return [function.tool.name for function in question.tools.functions], question.tools.built_in


# -- the standard library, notes and context ---------------------------------------------------------


async def test_the_standard_library_is_there_unless_functions_are_named(stage: Stage) -> None:
    await stage.register("query", "count")
    assert await _offered(stage) == (["sales_count", "sales_query"], BUILT_IN_TOOLS)
    assert await _offered(stage, attached_functions=_functions("query")) == (
        ["sales_query"],
        frozenset(),
    )
    with_time = [*_functions("query"), PERDURE_TIME]
    assert await _offered(stage, attached_functions=with_time) == (["sales_query"], {TIME_TOOL})
    assert await _offered(stage, attached_functions=[]) == ([], frozenset())


async def test_an_operators_context_reaches_the_functions_and_the_cluster(stage: Stage) -> None:
    await stage.register("count", "query")
    await stage.store.notes.put(stage.cluster_id, "sales", "query", "Slow on Mondays.")
    await stage.store.clusters.change(stage.cluster_id, {"additional_context": "We sell boats."})
    question = await stage.begin_step(await stage.run())
    assert [function.tool.description for function in question.tools.functions] == [
        "",
        "Slow on Mondays.",
    ]
    assert question.context == "We sell boats."
    sizes = [function.characters for function in question.tools.functions]
    assert sizes[1] - sizes[0] == len("Slow on Mondays.")


async def test_another_clusters_context_reaches_nobody_here(stage: Stage) -> None:
    other = Stage(stage.store, await stage.store.keys.ensure_cluster("other"))
    await other.register("query")
    await stage.register("query")
    await stage.store.notes.put(other.cluster_id, "sales", "query", "Secret.")
    await stage.store.clusters.change(other.cluster_id, {"additional_context": "Secret."})
    question = await stage.begin_step(await stage.run())
    assert question.tools.functions[0].tool.description == ""
    assert question.context is None


# -- reasoning ---------------------------------------------------------------------------------------


async def test_why_a_call_is_made_is_stored_on_it_and_never_passed_on(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run()
    asked = ToolCall("t1", "sales_query", {REASON_PARAMETER: "To see \0 it.", "sql": "select 1"})
    (order,) = (await stage.think(ref, ModelResponse("", StopReason.CALLS, (asked,)))).orders
    row = await stage.call_row(order.call_id)
    assert row["reasoning"] == "To see \\u0000 it."
    assert from_json(row["input"]) == {"sql": "select 1"}
    given = await stage.lease(ref, order.call_id)
    assert given.input == {"sql": "select 1"}
    ((_, message),) = [found for found in await stage.messages(ref) if found[0] == "agent"]
    assert message["invocations"][0]["reasoning"] == "To see \0 it."
    assert message["invocations"][0]["input"] == {"sql": "select 1"}


# -- mocks -------------------------------------------------------------------------------------------


async def _tested(stage: Stage, mocks: dict[str, Any], **changes: Any) -> RunRef:
    return await stage.run(test=True, mocks=mocks, **changes)


async def test_a_mock_answers_at_once_without_a_function_worker(stage: Stage) -> None:
    await stage.register("query")
    ref = await _tested(stage, {"sales_query": {"rows": [1, None]}})
    state = await stage.think(ref, calls_for("sales_query"))
    assert (state.status, state.orders, state.oversized) == ("running", [], [])
    (call,) = await stage.rows(tables.calls)
    assert (call["status"], call["result_type"], call["attempts"]) == ("success", "resolution", 0)
    assert (await stage.messages(ref))[-1][1]["result"] == '{"rows":[1,null]}'
    types = await stage.event_types(ref)
    assert types[-3:] == ["call.created", "call.mocked", "call.finished"]
    assert (await stage.think(ref, text_of("done"))).status == "done"


@pytest.mark.parametrize(
    ("output", "shown", "is_text"),
    [("plain", "plain", True), (None, "null", False), (0, "0", False), ([], "[]", False)],
)
async def test_any_json_is_an_output(
    stage: Stage, output: object, shown: str, is_text: bool
) -> None:
    ref = await _tested(stage, {"sales_query": output})
    await stage.think(ref, calls_for("sales_query"))
    (call,) = await stage.rows(tables.calls)
    assert (await stage.messages(ref))[-1][1]["result"] == shown
    assert call["result_is_text"] is is_text


async def test_mocks_of_functions_that_nobody_registered_are_offered_too(stage: Stage) -> None:
    await stage.register("query")
    await stage.register("secret", service="vault", config=FunctionConfig(private=True))
    mocks = {"sales_query": 1, "crm_find_customer": 2, "vault_secret": 3, CALCULATE_TOOL: "4"}
    question = await stage.begin_step(await _tested(stage, mocks))
    offered = {function.tool.name: function for function in question.tools.functions}
    assert list(offered) == ["crm_find_customer", CALCULATE_TOOL, "sales_query"]
    found = offered["crm_find_customer"]
    assert (found.service, found.name) == ("crm", "find_customer")
    assert found.tool.schema == {"type": "object", "properties": {}}
    assert question.tools.built_in == {TIME_TOOL}, "a tool has one answer"
    assert "expression" in str(offered[CALCULATE_TOOL].tool.schema)


async def test_where_functions_are_named_a_mock_adds_none(stage: Stage) -> None:
    attached = [*_functions("query"), FunctionReference(service="crm", function="find")]
    mocks = {"crm_find": 1, "crm_other": 2}
    question = await stage.begin_step(await _tested(stage, mocks, attached_functions=attached))
    assert [function.tool.name for function in question.tools.functions] == ["crm_find"]


async def test_beside_a_mock_other_calls_wait_for_their_workers(stage: Stage) -> None:
    await stage.register("query", "count")
    ref = await _tested(stage, {"sales_query": 1})
    state = await stage.think(ref, calls_for("sales_query", "sales_count"))
    (order,) = state.orders
    assert (await stage.call_row(order.call_id))["function"] == "count"
    await stage.lease_and_finish(ref, order.call_id)
    assert (await stage.think(ref, text_of("done"))).status == "done"


@pytest.mark.parametrize("summarize", [True, False])
async def test_a_mock_of_any_length_is_treated_like_a_result(stage: Stage, summarize: bool) -> None:
    ref = await _tested(stage, {"sales_query": "x" * 20_000}, call_summarization=summarize)
    state = await stage.think(ref, calls_for("sales_query"))
    (call,) = await stage.rows(tables.calls)
    assert state.oversized == ([call["id"]] if summarize else [])
    if not summarize:
        shown = (await stage.messages(ref))[-1][1]["result"]
        assert shown.startswith("x" * INLINE_RESULT_CHARACTERS + "\n[cut: 10000 of 20000")


@pytest.mark.parametrize(("tool", "value"), [(RESULT_TOOL, {"result": 7}), (GIVE_UP_TOOL, {})])
async def test_an_end_beside_a_mocked_call_was_given_without_its_result(
    stage: Stage, tool: str, value: dict[str, Any]
) -> None:
    ref = await _tested(stage, {"sales_query": 1}, result_schema='{"type":"integer"}')
    asked = (ToolCall("t1", "sales_query", {}), ToolCall("t2", tool, value))
    state = await stage.think(ref, ModelResponse("", StopReason.CALLS, asked))
    assert state.status == "running"
    assert "other functions were called" in (await stage.messages(ref))[-1][1]["result"]
    await stage.begin_step(ref)


async def test_without_a_test_run_nothing_is_mocked(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run(test=False, mocks={"sales_query": 1, "crm_find": 2})
    question = await stage.begin_step(ref)
    assert [function.tool.name for function in question.tools.functions] == ["sales_query"]
    assert len((await stage.record(question, calls_for("sales_query"))).orders) == 1


# -- names -------------------------------------------------------------------------------------------


async def test_a_model_names_a_run_that_nobody_named_once(stage: Stage) -> None:
    ref = await stage.run(name="go go", name_source="words")
    assert await stage.store.names.rename(ref, "A \0 better name")
    assert not await stage.store.names.rename(ref, "Another")
    run = await stage.get_run(ref)
    assert (run.name, run.name_source) == ("A \\u0000 better name", "model")
    assert await stage.events(ref, "run.named") == [
        {"name": "A \\u0000 better name", "previous": "go go"}
    ]


async def test_a_name_that_was_given_stays(stage: Stage) -> None:
    ref = await stage.run(name="mine")
    assert not await stage.store.names.rename(ref, "theirs")
    assert (await stage.get_run(ref)).name == "mine"
    assert await stage.events(ref, "run.named") == []


async def test_a_name_that_comes_after_the_end_makes_no_event(stage: Stage) -> None:
    ref = await stage.finished(name="go", name_source="words")
    version = (await stage.get_run(ref)).version
    assert await stage.store.names.rename(ref, "A late name")
    run = await stage.get_run(ref)
    assert (run.name, run.version) == ("A late name", version)


async def test_of_two_workers_that_name_a_run_one_does(stage: Stage, elsewhere: Stage) -> None:
    ref = await stage.run(name="go", name_source="words")
    took = await asyncio.gather(
        stage.store.names.rename(ref, "one"), elsewhere.store.names.rename(ref, "two")
    )
    assert sorted(took) == [False, True]
    assert (await stage.get_run(ref)).name == ("one" if took[0] else "two")
    assert len(await stage.events(ref, "run.named")) == 1


async def test_a_run_that_is_gone_has_no_name(stage: Stage) -> None:
    with pytest.raises(NotFoundError):
        await stage.store.names.rename(RunRef(stage.cluster_id, "nothing"), "x")
