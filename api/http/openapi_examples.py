"""Examples of every operation and every error in the OpenAPI document, recorded from the API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).with_suffix(".json")
"""By operation its `request` and `answer`, or the response of a status; under `problems` the problem of each status."""
_JSON = "application/json"
_PROBLEM = "application/problem+json"


def add_examples(document: dict[str, Any]) -> None:
    """Add the recorded examples to the document; an operation's own examples stay."""
    recorded: dict[str, dict[str, Any]] = json.loads(EXAMPLES.read_text())
    problems = recorded["problems"]
    for item in document["paths"].values():
        for operation in item.values():
            _add_to(operation, recorded.get(operation["operationId"], {}), problems)


def _add_to(operation: dict[str, Any], examples: dict[str, Any], problems: dict[str, Any]) -> None:
    if "request" in examples:
        _add(operation["requestBody"]["content"][_JSON], examples["request"])
    for status, answer in operation["responses"].items():
        content = answer.get("content", {})
        if _PROBLEM in content and status in problems:
            _add(content[_PROBLEM], problems[status])
        elif _JSON in content and {status, "answer"} & examples.keys():
            _add(content[_JSON], examples.get(status, examples.get("answer")))


def _add(media: dict[str, Any], value: Any) -> None:
    if "examples" not in media:
        media["examples"] = {"recorded": {"value": value}}
