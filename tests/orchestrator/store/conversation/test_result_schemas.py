"""A run's result is what its schema says, whatever the schema's top is and whichever draft it is written in."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from orchestrator.rules import agent_loop as agent
from orchestrator.store.database.json_columns import from_json, to_json
from tests.support.stage import Stage, result_of, text_of

_DRAFT_7 = "http://json-schema.org/draft-07/schema#"
_DRAFT_2020 = "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize(
    ("schema", "fits", "breaks"),
    [
        ({"type": "array", "items": {"type": "integer"}, "minItems": 1}, [1, 2], []),
        ({"type": "string", "pattern": "^a"}, "abc", "cba"),
        ({"type": "number"}, 0, "0"),
        ({"type": "boolean"}, False, 0),
        ({"type": "null"}, None, False),
        ({"enum": ["yes", 7, None]}, 7, "no"),
        ({"$schema": _DRAFT_7, "items": [{"type": "string"}]}, ["a", 1], [1]),
        ({"$schema": _DRAFT_2020, "prefixItems": [{"type": "string"}]}, ["a", 1], [1]),
    ],
    ids=["array", "string", "number", "boolean", "null", "enum", "draft 7", "2020-12"],
)
async def test_any_top_and_both_drafts(
    stage: Stage, schema: JsonValue, fits: JsonValue, breaks: JsonValue
) -> None:
    ref = await stage.run(result_schema=to_json(schema))
    assert (await stage.think(ref, result_of(breaks))).status == "running"
    assert (await stage.think(ref, result_of(fits))).status == "done"
    run = await stage.get_run(ref)
    assert (from_json(run.result or "null"), run.result_null_reason) == (fits, None)


async def test_what_cannot_be_had_is_null_with_the_reason(stage: Stage) -> None:
    ref = await stage.run(result_schema=to_json({"type": "array", "minItems": 1}))
    for _ in range(agent.MAX_CORRECTIONS + 1):
        await stage.think(ref, result_of([]))
    run = await stage.get_run(ref)
    assert (run.status, from_json(run.result or "null")) == ("done", None)
    assert "less than 1 item" in (run.result_null_reason or "")


@pytest.mark.parametrize("answer", ["42", "In words.", "{}"])
async def test_without_a_schema_the_result_is_the_answer(stage: Stage, answer: str) -> None:
    ref = await stage.run()
    await stage.think(ref, text_of(answer))
    run = await stage.get_run(ref)
    assert (from_json(run.result or "null"), run.result_null_reason) == (answer, None)
