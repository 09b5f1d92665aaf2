"""The OpenAPI document keeps its own rules. `test_generated_requests` tries whatever it allows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from api.app import assemble
from perdure.contract import CreateRun


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return assemble().openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for operation in item.values():
            yield path, operation


async def test_every_operation_is_named_and_described(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names))
    for _, operation in operations(document):
        assert re.fullmatch(r"[a-z]+_[a-z_]+", operation["operationId"])
        assert operation["summary"]
        assert operation["description"]


async def test_everything_but_health_needs_the_key(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["ApiKey"]["scheme"] == "bearer"
    for path, operation in operations(document):
        open_to_all = path in {"/live", "/ready", "/public/oas.json", "/contract"}
        assert ("security" in operation) == (not open_to_all), path
        assert ("401" in operation["responses"]) == (not open_to_all), path


async def test_every_error_is_a_problem(document: dict[str, Any]) -> None:
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for path, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status >= "400" and path != "/ready":
                (media,) = answer["content"].items()
                assert media[0] == "application/problem+json", (path, status)
                assert media[1]["schema"] == {"$ref": "#/components/schemas/Problem"}


async def test_limits_are_in_the_document(document: dict[str, Any]) -> None:
    create = document["components"]["schemas"]["CreateRun"]
    assert create["additionalProperties"] is False
    prompt, _ = create["properties"]["initialPrompt"]["anyOf"]
    assert prompt["maxLength"] == 500_000


async def test_the_examples_are_valid_requests(document: dict[str, Any]) -> None:
    named = {operation["operationId"]: operation for _, operation in operations(document)}
    body = named["create_run"]["requestBody"]["content"]["application/json"]
    assert body["examples"]
    for example in body["examples"].values():
        CreateRun.model_validate_json(json.dumps(example["value"]))
