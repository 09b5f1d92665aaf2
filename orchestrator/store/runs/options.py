"""A run's options in its row: some have a column of their own, all others share the JSON column `options`."""

from __future__ import annotations

from typing import Any

from orchestrator.store.database.json_columns import (
    from_json,
    object_from_json,
    optional_to_json,
)
from orchestrator.store.records import RunRecord
from perdure.contract import RunOptions

_PLAIN_COLUMNS = (
    "system_prompt",
    "interactive",
    "reasoning_traces",
    "call_summarization",
    "priority",
)
_JSON_COLUMNS = ("metadata", "tags", "budget")
"""Closed lists: an option that SQL never filters by goes into `options`, without a migration."""


def option_columns(options: RunOptions) -> dict[str, object]:
    """The options as values of their columns."""
    others = options.model_dump(mode="json", exclude_none=True, exclude=set(_PLAIN_COLUMNS))
    return {
        **{name: getattr(options, name) for name in _PLAIN_COLUMNS},
        **{name: optional_to_json(others.pop(name, None)) for name in _JSON_COLUMNS},
        "options": optional_to_json(others or None),
    }


def stored_options(run: RunRecord) -> dict[str, Any]:
    """A run's options by field name, as JSON values. One that is absent, or unknown when the run began, is left out."""
    texts = {name: getattr(run, name) for name in _JSON_COLUMNS}
    return {
        **({} if run.options is None else object_from_json(run.options)),
        **{name: getattr(run, name) for name in _PLAIN_COLUMNS},
        **{name: from_json(text) for name, text in texts.items() if text is not None},
    }
