"""Options: each one of a request reaches the run's row and comes back, also one that has no column."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from api.routes.serializers import present_run
from orchestrator.operations.run_requests import RunRequestValidator
from orchestrator.settings import Settings
from orchestrator.store.database.json_columns import object_from_json
from orchestrator.store.runs.options import stored_options
from orchestrator.workflows.interface import RunRef
from perdure.contract import CreateRun, RunOptions
from tests.support.stage import Stage, new_run

_VALUES: dict[str, Any] = {
    "system_prompt": "Be brief.",
    "metadata": {"team": "sales", "region": "é"},
    "tags": ["a", "b"],
    "interactive": False,
    "reasoning_traces": False,
    "call_summarization": False,
    "priority": 1,
    "budget": {"tokens": 5, "steps": 2},
}
"""A value of each option that is not its default."""


class _LaterOptions(RunOptions):
    """The options of a later version."""

    style: str = "plain"
    review_at: datetime | None = None
    hints: dict[str, str | None] | None = None


async def _accepted(stage: Stage, values: dict[str, Any]) -> RunRef:
    request = CreateRun.model_validate({"initial_prompt": "go", **values})
    validator = RunRequestValidator(stage.store, Settings(default_model="scripted/inline"))
    record, _ = await stage.store.runs.create(await validator.build(stage.cluster_id, request))
    return RunRef(stage.cluster_id, record.id)


def test_every_option_has_a_value_here() -> None:
    assert _VALUES.keys() == RunOptions.model_fields.keys()


@pytest.mark.parametrize("name", RunOptions.model_fields)
async def test_an_option_of_a_request_is_stored_and_shown(stage: Stage, name: str) -> None:
    value, default = (
        _VALUES[name],
        RunOptions.model_fields[name].get_default(call_default_factory=True),
    )
    stored = await stage.get_run(await _accepted(stage, {name: value}))
    assert stored_options(stored)[name] == value != default
    shown = present_run(stored).model_dump(exclude_none=True)
    assert shown[name] == value
    for other in RunOptions.model_fields.keys() - {name}:
        untouched = RunOptions.model_fields[other].get_default(call_default_factory=True)
        assert shown.get(other) == untouched


async def test_an_option_without_a_column_is_stored_beside_the_others(stage: Stage) -> None:
    at = datetime(2027, 1, 31, 12, tzinfo=UTC)
    options = _LaterOptions(style="formal", review_at=at, hints={"a": None}, tags=["t"])
    new = replace(new_run(stage.cluster_id), options=options)
    record, _ = await stage.store.runs.create(new)
    run = await stage.get_run(RunRef(stage.cluster_id, record.id))
    assert _LaterOptions.model_validate(stored_options(run)) == options
    assert object_from_json(run.options or "") == {
        "style": "formal",
        "review_at": "2027-01-31T12:00:00Z",
        "hints": {"a": None},
    }
    assert present_run(run).tags == ["t"], "a process that does not know the options shows the run"


async def test_a_run_of_an_older_version_has_the_defaults_of_newer_options(stage: Stage) -> None:
    run = await stage.get_run(await stage.run())
    assert run.options is None
    assert _LaterOptions.model_validate(stored_options(run)) == _LaterOptions()
